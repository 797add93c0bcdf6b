-- breaking: no
-- The log: a topic is a sequence of record batches, one row each, in a table of its own that is partitioned by segment.
--
-- Names. Tables of Sluice itself are singular and belong to it; views are plural, public, and stay as they are. A topic's
-- table is named by its number, so a topic's name is always a value and never part of a statement (its view excepted,
-- whose name is quoted).
--
-- Advisory locks, all of the two-integer form. Classes are "slu" and a number; the order below is the lock order, and
-- nothing takes a lock above one that it holds:
--   1936487681  a topic's shape (create, roll, trim)   key: the topic's number, 0 to create one     transaction
--   1936487682  appending to a partition               key: topic number * 1024 + partition         transaction
--   1936487683  the fence of a position                key: position number; shared to commit,
--                                                           exclusive to take over                  transaction
--   1936487684  owning a position                      key: position number                         session
--   1936487685  being a live member                    key: member number                           session
--   1936487686  having a duty                          key: duty number                             session
--   1936487687  the fence of a duty                    key: duty number                             transaction

create schema sluice_log;
comment on schema sluice_log is 'Sluice: the tables and append functions of topics, named by topic number. Read topics.<name> instead.';
create schema topics;
comment on schema topics is 'Sluice: a view per topic that shows its messages one by one.';

create table sluice.topic (
  topic integer generated always as identity,
  name text not null,
  partitions integer not null,
  encoding text not null,
  compression text not null,
  retention_ms bigint,
  retention_bytes bigint,
  segment_ms bigint not null,
  segment_bytes bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint topic_pkey primary key (topic),
  constraint topic_name_unique unique (name),
  constraint topic_name_form check (name ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
  constraint topic_number_range check (topic between 1 and 2097151),
  constraint topic_partitions_range check (partitions between 1 and 1024),
  constraint topic_encoding_known check (encoding in ('json', 'bytes')),
  constraint topic_compression_known check (compression in ('auto', 'pglz', 'none')),
  constraint topic_retention_positive check (retention_ms > 0 and retention_bytes > 0),
  constraint topic_segment_positive check (segment_ms > 0 and segment_bytes > 0)
);
comment on table sluice.topic is 'A topic: its number, its name and how it is kept. See the view sluice.topics.';
comment on column sluice.topic.topic is 'Names the topic''s table, sluice_log.topic_<n>; never reused.';
comment on column sluice.topic.encoding is 'json: values are JSON. bytes: values are base64 text in the log and bytea in the view.';
comment on column sluice.topic.compression is 'auto: lz4 where the server has it, else none. pglz. none.';

create table sluice.segment (
  topic integer not null,
  segment integer not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint segment_pkey primary key (topic, segment),
  constraint segment_topic foreign key (topic) references sluice.topic (topic) on delete cascade
);
comment on table sluice.segment is 'A slice of a topic in time: sluice_log.topic_<topic>_segment_<segment>. The highest one is appended to.';

create table sluice.segment_start (
  topic integer not null,
  segment integer not null,
  partition integer not null,
  start_offset bigint not null,
  constraint segment_start_pkey primary key (topic, segment, partition),
  constraint segment_start_segment foreign key (topic, segment) references sluice.segment (topic, segment) on delete cascade
);
comment on table sluice.segment_start is 'Where each partition begins in a segment, so that dropping older segments never restarts an offset.';

create sequence sluice.producer_number as bigint;
comment on sequence sluice.producer_number is 'A number for every producer that opens; with its record sequence it makes up the id of a record.';

-- The partition where Kafka's default partitioner would put a key: murmur2 (Austin Appleby), seed 0x9747b28c, of its UTF-8.
-- All arithmetic is on bigint, cut to 32 bits by hand, because integer multiplication raises on overflow.
create function sluice.partition_of_key(key text, partitions integer) returns integer
language plpgsql immutable strict parallel safe as $$
declare
  mask constant bigint := 4294967295;
  multiplier constant bigint := 1540483477;
  bytes bytea := convert_to(key, 'UTF8');
  size integer := octet_length(bytes);
  hash bigint := 2538058380 # size;
  word bigint;
  at integer := 0;
begin
  while at + 4 <= size loop
    word := get_byte(bytes, at) | (get_byte(bytes, at + 1) << 8) | (get_byte(bytes, at + 2) << 16)
      | (get_byte(bytes, at + 3)::bigint << 24);
    word := sluice.multiply_32(word, multiplier);
    word := word # (word >> 24);
    word := sluice.multiply_32(word, multiplier);
    hash := sluice.multiply_32(hash, multiplier) # word;
    at := at + 4;
  end loop;
  if size - at >= 3 then hash := hash # (get_byte(bytes, at + 2)::bigint << 16); end if;
  if size - at >= 2 then hash := hash # (get_byte(bytes, at + 1)::bigint << 8); end if;
  if size - at >= 1 then
    hash := hash # get_byte(bytes, at)::bigint;
    hash := sluice.multiply_32(hash, multiplier);
  end if;
  hash := hash # (hash >> 13);
  hash := sluice.multiply_32(hash, multiplier);
  hash := hash # (hash >> 15);
  return ((hash & 2147483647) % partitions)::integer;
end $$;
comment on function sluice.partition_of_key(text, integer) is 'The partition a key goes to: Kafka''s murmur2. The same as the producers compute.';

-- The low 32 bits of a product of two unsigned 32-bit numbers, by halves so that bigint does not overflow.
create function sluice.multiply_32(a bigint, b bigint) returns bigint
language sql immutable strict parallel safe
return (((((a >> 16) * b) & 65535) << 16) + ((a & 65535) * b)) & 4294967295;
comment on function sluice.multiply_32(bigint, bigint) is 'Internal: unsigned 32-bit multiplication.';

-- Creates a topic with its first segment, append function and view, and returns its number. A topic of that name that is
-- there already is left as it is and its number returned, so any number of processes may ask at once.
-- Locks: a topic's shape, key 0.
create function sluice.create_topic(
  p_name text, p_partitions integer default 8, p_encoding text default 'json', p_compression text default 'auto',
  p_retention_ms bigint default null, p_retention_bytes bigint default null,
  p_segment_ms bigint default 86400000, p_segment_bytes bigint default 1073741824
) returns integer language plpgsql as $$
declare
  v_topic integer;
begin
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if found then return v_topic; end if;
  perform pg_advisory_xact_lock(1936487681, 0);
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if found then return v_topic; end if;

  insert into sluice.topic (name, partitions, encoding, compression, retention_ms, retention_bytes, segment_ms, segment_bytes)
  values (p_name, p_partitions, p_encoding, p_compression, p_retention_ms, p_retention_bytes, p_segment_ms, p_segment_bytes)
  returning topic into v_topic;

  execute format($ddl$
    create table sluice_log.topic_%1$s (
      segment integer not null,
      partition integer not null,
      base_offset bigint not null,
      count integer not null,
      appended_at timestamptz not null,
      producer bigint,
      sequence bigint,
      keys text,
      records text not null,
      attributes text
    ) partition by list (segment)$ddl$, v_topic);
  execute format('comment on table sluice_log.topic_%s is %L', v_topic,
    format('Sluice: the record batches of topic %s. One row a batch; read topics.%I for messages.', p_name, p_name));
  insert into sluice.segment (topic, segment) values (v_topic, 0);
  insert into sluice.segment_start (topic, segment, partition, start_offset)
  select v_topic, 0, p, 0 from generate_series(0, p_partitions - 1) p;
  perform sluice.create_segment_table(v_topic, 0);
  perform sluice.create_append_function(v_topic);
  perform sluice.create_topic_view(v_topic);
  return v_topic;
end $$;
comment on function sluice.create_topic is 'Creates a topic, or returns the number of the one that has the name.';

-- The table of one segment. Its keys are its own (not its parent's), so that they need not hold the segment. Made by itself
-- and then attached: creating it as a partition would wait for every transaction that has read the topic.
create function sluice.create_segment_table(p_topic integer, p_segment integer) returns void language plpgsql as $$
declare
  v_table text := format('sluice_log.topic_%s_segment_%s', p_topic, p_segment);
  v_compression text := (select compression from sluice.topic where topic = p_topic);
  v_has_lz4 boolean := exists (
    select from pg_settings where name = 'default_toast_compression' and 'lz4' = any(enumvals));
begin
  execute format('create table %s (like sluice_log.topic_%s including all)', v_table, p_topic);
  execute format('alter table %s add constraint topic_%s_segment_%s_pkey primary key (partition, base_offset)', v_table, p_topic, p_segment);
  execute format('create unique index topic_%2$s_segment_%3$s_sequence on %1$s (producer, sequence)', v_table, p_topic, p_segment);
  if v_compression = 'pglz' then
    execute format('alter table %s alter keys set compression pglz, alter records set compression pglz, alter attributes set compression pglz', v_table);
  elsif v_compression = 'auto' and v_has_lz4 then
    execute format('alter table %s alter keys set compression lz4, alter records set compression lz4, alter attributes set compression lz4', v_table);
  else
    -- Nothing to compress: a batch that fits into a page stays in its row, which costs a fifth less than a side table.
    execute format('alter table %s alter keys set storage external, alter records set storage external, alter attributes set storage external', v_table);
    execute format('alter table %s set (toast_tuple_target = 8160)', v_table);
  end if;
  execute format('alter table sluice_log.topic_%s attach partition %s for values in (%s)', p_topic, v_table, p_segment);
end $$;
comment on function sluice.create_segment_table(integer, integer) is 'Internal: the table of a segment.';

-- The append functions of a topic, bound to its newest segment. Generated, because a dynamic statement costs a third of
-- the rate of single messages, and one text makes them all, so that a migration can make them again.
--
-- There are two of one name: for several partitions at once, and, where the arguments are no arrays, for a batch of one
-- partition, which is what a lone message is. That one knows the ordinary case only and leaves every other to the first.
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
-- Locks: appending, per partition in ascending order, until the end of the transaction. Committing makes the batches
-- visible before the locks go, so offsets become visible in order, dense and without gaps. Nothing is updated here: a row
-- that is would grow a chain of dead versions while any transaction of the database is held open.
create function sluice.create_append_function(p_topic integer) returns void language plpgsql as $outer$
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
        where b.segment >= v_oldest and b.producer = p_producer and b.sequence = v_sequence;
      v_founds := v_founds || v_found;
      v_sequence := v_sequence + p_counts[i];
    end loop;
  end if;

  insert into sluice_log.topic_{topic}_segment_{segment}
    (segment, partition, base_offset, count, appended_at, producer, sequence, keys, records, attributes)
  select {segment}, e.partition, e.first, e.count, clock_timestamp(), p_producer, e.sequence, e.keys, e.records, e.attributes
  from (
    select u.*, p_sequence + sum(u.count) over (order by u.number) - u.count as sequence
    from rows from (
      unnest(p_partitions), unnest(v_firsts), unnest(p_counts), unnest(v_founds), unnest(string_to_array(p_keys, v_separator)),
      unnest(string_to_array(p_records, v_separator)), unnest(string_to_array(p_attributes, v_separator))
    ) with ordinality u(partition, first, count, found, keys, records, attributes, number)
  ) e
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
begin
  if current_setting('transaction_isolation') = 'read committed' then
    if current_setting('synchronous_commit') <> p_commit then
      perform set_config('synchronous_commit', p_commit, true);
    end if;
    if pg_advisory_xact_lock(1936487682, {topic} * 1024 + p_partition) is null then end if;
    select b.base_offset + b.count into v_first from sluice_log.topic_{topic}_segment_{segment} b
      where b.partition = p_partition order by b.base_offset desc limit 1;
    -- (A comparison with null is not true: a segment without a batch of this partition is not an ordinary case either.)
    if v_first < {seal} and not p_repeat and clock_timestamp() >= '{young_until}' then
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
  return (sluice_log.append_{topic}(array[p_partition], array[p_count], p_keys, p_records, p_attributes,
    p_producer, p_sequence, p_repeat, p_commit, p_ring))[1];
end $template$;
  v_bodies text[] := '{}';
  v_function text;
begin
  foreach v_body in array array[v_body, v_one] loop
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
    returns bigint[] language plpgsql volatile as %L', p_topic, v_bodies[1]);
  execute format('create or replace function sluice_log.append_%s(
      p_partition integer, p_count integer, p_keys text, p_records text, p_attributes text,
      p_producer bigint, p_sequence bigint, p_repeat boolean, p_commit text, p_ring text)
    returns bigint language plpgsql volatile as %L', p_topic, v_bodies[2]);
  for v_function in select oid::regprocedure::text from pg_proc
    where pronamespace = 'sluice_log'::regnamespace and proname = format('append_%s', p_topic)
  loop
    execute format('comment on function %s is %L', v_function,
      format('Sluice: appends to topic %s, segment %s. Generated by sluice.create_append_function.', p_topic, v_segment));
  end loop;
end $outer$;
comment on function sluice.create_append_function(integer) is 'Internal: makes a topic''s append function for its newest segment.';

-- The view of a topic: its messages one by one. `timestamp` is the sender's where it gave one; `id` names a message for ever.
create function sluice.create_topic_view(p_topic integer) returns void language plpgsql as $$
declare
  v_name text; v_encoding text;
begin
  select name, encoding into v_name, v_encoding from sluice.topic where topic = p_topic;
  execute format($ddl$
    create or replace view topics.%1$I as
    select
      batch.partition,
      batch.base_offset + record.number - 1 as "offset",
      record.key,
      %3$s as value,
      coalesce(record.attributes -> 'headers', '{}'::json) as headers,
      coalesce(to_timestamp((record.attributes ->> 'timestamp')::double precision / 1000), batch.appended_at) as "timestamp",
      coalesce(record.attributes ->> 'id', (batch.producer || '-' || batch.sequence + record.number - 1)) as id,
      batch.appended_at
    from sluice_log.topic_%2$s batch
    cross join lateral rows from (
      json_array_elements(batch.records::json),
      json_array_elements_text(batch.keys::json),
      json_array_elements(batch.attributes::json)
    ) with ordinality as record(value, key, attributes, number)$ddl$,
    v_name, p_topic,
    case v_encoding when 'bytes' then $sql$decode(record.value #>> '{}', 'base64')$sql$ else 'record.value' end);
  execute format('comment on view topics.%I is %L', v_name,
    format('Sluice: the messages of topic %s, one row each.', v_name));
  execute format('comment on column topics.%I."offset" is %L', v_name, 'Position within the partition, from 0, without gaps; never reused.');
  execute format('comment on column topics.%I.key is %L', v_name, 'What is kept in order and what picked the partition; null when the sender gave none.');
  execute format('comment on column topics.%I.value is %L', v_name,
    case v_encoding when 'bytes' then 'The message''s bytes.' else 'The message, as JSON: value->>''email''.' end);
  execute format('comment on column topics.%I.id is %L', v_name, 'Unique for ever, and known to the sender.');
end $$;
comment on function sluice.create_topic_view(integer) is 'Internal: makes the view topics.<name>.';

-- Closes a topic's segment and begins the next, and returns its number. Appends wait for the moment it takes, so everything
-- that could wait for somebody else's transaction comes before their locks.
-- Locks: the topic's shape; the topic's table (against other changes of shape, not against readers); then appending, for
-- every partition in ascending order.
create function sluice.roll_segment(p_topic integer) returns integer language plpgsql as $$
declare
  v_partitions integer;
  v_segment integer;
begin
  perform pg_advisory_xact_lock(1936487681, p_topic);
  select partitions into strict v_partitions from sluice.topic where topic = p_topic;
  select max(segment) into strict v_segment from sluice.segment where topic = p_topic;
  perform sluice.create_segment_table(p_topic, v_segment + 1);
  for v_partition in 0 .. v_partitions - 1 loop
    perform pg_advisory_xact_lock(1936487682, p_topic * 1024 + v_partition);
  end loop;
  insert into sluice.segment (topic, segment) values (p_topic, v_segment + 1);
  execute format($sql$
    insert into sluice.segment_start (topic, segment, partition, start_offset)
    select s.topic, %2$s + 1, s.partition, coalesce(
      (select b.base_offset + b.count from sluice_log.topic_%1$s_segment_%2$s b
        where b.partition = s.partition order by b.base_offset desc limit 1),
      s.start_offset)
    from sluice.segment_start s where s.topic = %1$s and s.segment = %2$s$sql$, p_topic, v_segment);
  -- The seal: an empty batch at an offset that nothing reaches (2^62), where an append that still means this segment
  -- finds it as the last one, at no cost to those that do not.
  execute format($sql$
    insert into sluice_log.topic_%1$s_segment_%2$s (segment, partition, base_offset, count, appended_at, records)
    select %2$s, partition, 4611686018427387904, 0, clock_timestamp(), '[]'
    from generate_series(0, %3$s - 1) partition$sql$, p_topic, v_segment, v_partitions);
  perform sluice.create_append_function(p_topic);
  return v_segment + 1;
end $$;
comment on function sluice.roll_segment(integer) is 'Closes a topic''s segment and begins the next.';
