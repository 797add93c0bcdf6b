-- breaking: no
-- Appending, fourth version: one that follows another over the same connection.
--
-- A producer sends its next append while the one before is under way, and the server goes on with it at once instead of waiting for
-- the answer's way there and back. It must not be appended when the one before was not: it names that, and what was appended before it is,
-- nearly always, the last batch of a partition that both append to. The ordinary case reads that batch anyway, so to ask costs nothing,
-- where the search for it was a statement more. And the ordinary case evaluates its conditions as one expression: each of its own
-- takes a snapshot. (Measured together: half as many again at best, a sixth more in the median of 256 callers.)

-- The append functions of a topic, bound to its newest segment. Generated, because a dynamic statement costs a third of
-- the rate of single messages, and one text makes them all, so that a migration can make them again.
--
-- There are three of one name: for several partitions at once; the same with hints; and, where the arguments are no arrays, for a
-- batch of one partition, which is what a lone message is. The first knows every case, the others know the ordinary one only and
-- leave what is not to it. Three more of the name append_after_<topic> are the same under a condition: see there.
--
-- sluice_log.append_<topic>(partitions, counts, keys, records, attributes, producer, sequence, repeat, commit, ring)
--   partitions  ascending, each once: the lock order
--   counts      records of each partition
--   keys        JSON array of strings and nulls per partition, joined by 32 times U+001E; null when there is no key at all.
--               (JSON text never holds that character: RFC 7464. 32 of them, because Postgres looks for a text in steps as
--               long as that text.)
--   records     the same with the values
--   attributes  the same with {"headers", "timestamp", "id"} or null per record; null when there are none
--   producer    with sequence, names each record for ever; null for one that does not retry
--   sequence    of the first record; the next partition's begins after this one's last
--   repeat      true: an earlier call with this producer and sequence may have taken effect; its offsets are returned then
--   commit      'on': answer when synchronous standbys have it, too. 'local': when this server has it on disk
--   ring        what to notify the channel sluice of with the commit; null: nothing
-- returns the first offset of each partition.
--
-- sluice_log.append_<topic>(…the same, hints)
--   hints       per partition, where one of its batches begins, if not its last one then one near it; 0 where nothing is known
-- The same with fewer steps, for the ordinary case only. A hint is believed in nothing: the last batch at or above it is the last
-- of all, and where there is none (another segment, a server that lost commits) the functions without hints look for it.
--
-- sluice_log.append_after_<topic>(after, …the same, with or without hints, for one partition or for several)
--   after       the sequence of a batch of this producer that must be in the log; else nothing is appended, and the error is SL002.
--               Found at once where that batch is the last one of a partition that is appended to
-- By it a producer may have a second append under way before it knows what became of the first: order holds (invariant 7), whatever
-- becomes of the first.
--
-- Locks: appending, per partition in ascending order, until the end of the transaction. Committing makes the batches
-- visible before the locks go, so offsets become visible in order, dense and without gaps. Nothing is updated here: a row
-- that is would grow a chain of dead versions while any transaction of the database is held open.
create or replace function sluice.create_append_function(p_topic integer) returns void language plpgsql as $outer$
declare
  v_segment integer := (select max(segment) from sluice.segment where topic = p_topic);
  v_created timestamptz := (select created_at from sluice.segment where topic = p_topic and segment = v_segment);
  v_body text := $template$
declare
  v_entries integer := cardinality(p_partitions);
  v_first bigint;
  v_firsts bigint[];
  v_found bigint;
  v_founds bigint[];
  v_sequence bigint := p_sequence;
  v_separator constant text := repeat(E'\x1e', 32);
  v_sequences bigint[];
  v_oldest integer;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'sluice: an append must run at READ COMMITTED, not %', current_setting('transaction_isolation')
      using errcode = '25001', hint = 'Use sluice.send(), which writes to the outbox, inside a transaction of another isolation level.';
  end if;
  if current_setting('synchronous_commit') <> p_commit then
    perform set_config('synchronous_commit', p_commit, true);
  end if;

  -- One by one and in this order. (An IF, because it evaluates the call as it is; PERFORM would run a query.)
  for i in 1 .. v_entries loop
    if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
      raise exception 'sluice: partitions of one append must ascend' using errcode = '22023';
    end if;
    if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partitions[i]) is null then end if;
    v_sequences[i] := v_sequence;
    v_sequence := v_sequence + p_counts[i];
  end loop;

  -- Statements from here on see everything that was committed before the locks were had.
  select array_agg(last.end_offset order by e.number), max(last.end_offset) into v_firsts, v_first
  from unnest(p_partitions) with ordinality e(partition, number)
  left join lateral (
    select b.base_offset + b.count as end_offset from sluice_log.topic_{topic}_segment_{segment} b
    where b.partition = e.partition order by b.base_offset desc limit 1) last on true;

  if v_first >= {seal} then
    -- The segment was closed while this call waited for its lock. The function now stands for the new one: call that, as a
    -- repeat, because what this producer wrote may be in a segment before.
    execute 'select sluice_log.append_{topic}($1, $2, $3, $4, $5, $6, $7, true, $8, $9)' into v_firsts
      using p_partitions, p_counts, p_keys, p_records, p_attributes, p_producer, p_sequence, p_commit, p_ring;
    return v_firsts;
  end if;

  if array_position(v_firsts, null) is not null then
    -- Nothing in this segment yet: it begins where the one before ended.
    for i in 1 .. v_entries loop
      if v_firsts[i] is null then
        select s.start_offset into v_first from sluice.segment_start s
          where s.topic = {topic} and s.segment = {segment} and s.partition = p_partitions[i];
        if not found then
          raise exception 'sluice: topic {topic} has no partition %', p_partitions[i] using errcode = '22023';
        end if;
        v_firsts[i] := v_first;
      end if;
    end loop;
  end if;

  if p_repeat or clock_timestamp() < '{young_until}' then
    -- Producers try for ten minutes at most, so the first try is in a segment that was appended to within fifteen.
    v_oldest := coalesce((select max(s.segment) from sluice.segment s
      where s.topic = {topic} and s.created_at < clock_timestamp() - interval '15 minutes'), 0);
    for i in 1 .. v_entries loop
      select b.base_offset into v_found from sluice_log.topic_{topic} b
        where b.segment >= v_oldest and b.producer = p_producer and b.sequence = v_sequences[i];
      v_founds := v_founds || v_found;
    end loop;
  end if;

  insert into sluice_log.topic_{topic}_segment_{segment}
    (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
  select {segment}, e.partition, e.first, e.count, clock_timestamp(), p_producer, e.sequence, e.keys, e.records, e.attributes
  from rows from (
    unnest(p_partitions), unnest(v_firsts), unnest(p_counts), unnest(v_sequences), unnest(v_founds),
    unnest(string_to_array(p_keys, v_separator)), unnest(string_to_array(p_records, v_separator)),
    unnest(string_to_array(p_attributes, v_separator))
  ) e(partition, first, count, sequence, found, keys, records, attributes)
  where e.found is null;
  if p_ring is not null then
    perform pg_notify('sluice', p_ring);
  end if;
  if v_founds is not null then
    select array_agg(coalesce(r.found, r.first) order by r.number) into v_firsts
    from unnest(v_founds, v_firsts) with ordinality r(found, first, number);
  end if;
  return v_firsts;
end $template$;
  v_one text := $template$
declare
  v_first bigint;
  v_follows boolean;
begin
  -- One expression, evaluated from left to right as it stands: the lock before the statement that looks for the last batch.
  if current_setting('transaction_isolation') = 'read committed'
    and (current_setting('synchronous_commit') = p_commit or set_config('synchronous_commit', p_commit, true) is not null)
    and pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partition) is not null
  then
    select b.base_offset + b.count, {follows} into v_first, v_follows from sluice_log.topic_{topic}_segment_{segment} b
      where b.partition = p_partition order by b.base_offset desc limit 1;
    -- (A comparison with null is not true: a segment without a batch of this partition is not an ordinary case either.)
    if v_first < {seal} and v_follows and not p_repeat and clock_timestamp() >= '{young_until}' then
      insert into sluice_log.topic_{topic}_segment_{segment}
        (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
      values
        ({segment}, p_partition, v_first, p_count, clock_timestamp(), p_producer, p_sequence, p_keys, p_records, p_attributes);
      if p_ring is not null then
        perform pg_notify('sluice', p_ring);
      end if;
      return v_first;
    end if;
  end if;
  return (sluice_log.{otherwise}array[p_partition], array[p_count], p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring))[1];
end $template$;
  v_hinted text := $template$
declare
  v_first bigint;
  v_firsts bigint[];
  v_sequence bigint := p_sequence;
  v_sequences bigint[];
  v_follows boolean;
  v_separator constant text := repeat(E'\x1e', 32);
begin
  if current_setting('transaction_isolation') = 'read committed' and not p_repeat and clock_timestamp() >= '{young_until}'
    and (current_setting('synchronous_commit') = p_commit or set_config('synchronous_commit', p_commit, true) is not null)
  then
    for i in 1 .. cardinality(p_partitions) loop
      if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
        raise exception 'sluice: partitions of one append must ascend' using errcode = '22023';
      end if;
      if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partitions[i]) is null then end if;
      v_sequences[i] := v_sequence;
      v_sequence := v_sequence + p_counts[i];
    end loop;
    select array_agg(last.end_offset order by e.number), max(last.end_offset), bool_or(last.follows) into v_firsts, v_first, v_follows
    from unnest(p_partitions, p_hints) with ordinality e(partition, hint, number)
    left join lateral (
      select b.base_offset + b.count as end_offset, {follows} as follows from sluice_log.topic_{topic}_segment_{segment} b
      where b.partition = e.partition and b.base_offset >= e.hint order by b.base_offset desc limit 1) last on true;
    if v_first < {seal} and v_follows and array_position(v_firsts, null) is null then
      insert into sluice_log.topic_{topic}_segment_{segment}
        (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
      select {segment}, e.partition, e.first, e.count, clock_timestamp(), p_producer, e.sequence, e.keys, e.records, e.attributes
      from rows from (
        unnest(p_partitions), unnest(v_firsts), unnest(p_counts), unnest(v_sequences), unnest(string_to_array(p_keys, v_separator)),
        unnest(string_to_array(p_records, v_separator)), unnest(string_to_array(p_attributes, v_separator))
      ) e(partition, first, count, sequence, keys, records, attributes);
      if p_ring is not null then
        perform pg_notify('sluice', p_ring);
      end if;
      return v_firsts;
    end if;
  end if;
  return sluice_log.{otherwise}p_partitions, p_counts, p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring);
end $template$;
  v_after text := $template$
declare
  v_oldest integer;
begin
  -- The same locks in the same order; to have them twice is to have them.
  for i in 1 .. cardinality(p_partitions) loop
    if i > 1 and p_partitions[i] <= p_partitions[i - 1] then
      raise exception 'sluice: partitions of one append must ascend' using errcode = '22023';
    end if;
    if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partitions[i]) is null then end if;
  end loop;
  -- In the segment that is appended to, or, when it is new, in one that was within fifteen minutes.
  if not exists (select from sluice_log.topic_{topic}_segment_{segment} b where b.producer = p_producer and b.sequence = p_after) then
    v_oldest := coalesce((select max(s.segment) from sluice.segment s
      where s.topic = {topic} and s.created_at < clock_timestamp() - interval '15 minutes'), 0);
    if not exists (
      select from sluice_log.topic_{topic} b where b.segment >= v_oldest and b.producer = p_producer and b.sequence = p_after
    ) then
      raise exception 'sluice: sequence % of producer % is not in the log', p_after, p_producer using errcode = 'SL002',
        hint = 'Nothing was appended. Append again when it is known what became of that sequence.';
    end if;
  end if;
  return sluice_log.append_{topic}(p_partitions, p_counts, p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring);
end $template$;
  v_bodies text[] := '{}';
  v_function text;
  v_is_after boolean;
  v_name text;
  v_first text;
  v_follows text;
  v_otherwise text;
begin
  foreach v_body in array array[v_body, v_after, v_one, v_hinted] loop
    v_body := replace(v_body, '{topic}', p_topic::text);
    v_body := replace(v_body, '{segment}', v_segment::text);
    v_body := replace(v_body, '{seal}', '4611686018427387904');
    -- A first try that the network held back may arrive after the segment rolled, so a young segment looks back as well.
    v_body := replace(v_body, '{young_until}',
      case when v_segment = 0 then '-infinity' else (v_created + interval '15 minutes')::text end);
    v_bodies := v_bodies || v_body;
  end loop;
  execute format('create or replace function sluice_log.append_%s(
      p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text,
      p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
    returns bigint[] language plpgsql volatile set plan_cache_mode = force_generic_plan as %L', p_topic, v_bodies[1]);
  execute format('create or replace function sluice_log.append_after_%s(
      p_after bigint, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text,
      p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
    returns bigint[] language plpgsql volatile as %L', p_topic, v_bodies[2]);
  foreach v_is_after in array array[false, true] loop
    v_name := case when v_is_after then 'append_after_' else 'append_' end || p_topic;
    v_first := case when v_is_after then 'p_after bigint, ' else '' end;
    v_follows := case when v_is_after then 'b.producer = p_producer and b.sequence = p_after' else 'true' end;
    v_otherwise := v_name || case when v_is_after then '(p_after, ' else '(' end;
    execute format('create or replace function sluice_log.%s(
        %sp_partition integer, p_count integer, p_keys text, p_records text, p_attributes text,
        p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
      returns bigint language plpgsql volatile as %L',
      v_name, v_first, replace(replace(v_bodies[3], '{follows}', v_follows), '{otherwise}', v_otherwise));
    execute format('create or replace function sluice_log.%s(
        %sp_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text,
        p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text, p_hints bigint[])
      returns bigint[] language plpgsql volatile set plan_cache_mode = force_generic_plan as %L',
      v_name, v_first, replace(replace(v_bodies[4], '{follows}', v_follows), '{otherwise}', v_otherwise));
  end loop;
  for v_function in select oid::regprocedure::text from pg_proc
    where pronamespace = 'sluice_log'::regnamespace and proname in (format('append_%s', p_topic), format('append_after_%s', p_topic))
  loop
    execute format('comment on function %s is %L', v_function,
      format('Sluice: appends to topic %s, segment %s. Generated by sluice.create_append_function.', p_topic, v_segment));
  end loop;
end $outer$;
comment on function sluice.create_append_function(integer) is 'Internal: makes a topic''s append function for its newest segment.';

-- Locks: the shape of every topic, ascending, so that none rolls meanwhile.
do $$
declare
  v_topic integer;
begin
  for v_topic in select topic from sluice.topic order by topic loop
    perform pg_advisory_xact_lock(1936487681, v_topic);
    perform sluice.create_append_function(v_topic);
  end loop;
end $$;
