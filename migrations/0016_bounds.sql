-- breaking: no
-- Bounded topics, finished: what drops its oldest messages to make room, what comes due for a guarded topic, and stages that
-- produce to one.
--
-- Dropping deletes nothing, because the log is immutable and belongs to every group. It raises a mark per partition, in the
-- transaction of the append that needs the room and under the lock of the guarded topic: messages below wait no more, and consumers
-- pass over those that they had not begun. What is oldest is decided over all partitions, by the time of append.
--
-- Locks: as in migrations/0013_guards.sql; a stage takes the lock of a guarded topic where it would take those of appending.

alter table sluice.guard add column overflow text not null default 'reject';
alter table sluice.guard add constraint guard_overflow_known check (overflow in ('reject', 'drop-oldest'));
alter table sluice.guard add constraint guard_overflow_bounded check (overflow = 'reject' or max_depth is not null);
comment on column sluice.guard.overflow is 'reject: a send for which there is no room fails. drop-oldest: it makes room.';
comment on column sluice.guard.max_depth is 'How many messages may wait. Null: as many as there is room on disk.';

-- A row per raise and partition, never updated: a row that is would grow a chain of dead versions while any transaction is held
-- open. The newest is found by a backward probe, whatever has been removed below. (No foreign key, as with sluice.deduplication.)
create table sluice.drop_mark (
  topic integer not null,
  partition integer not null,
  below bigint not null,
  dropped bigint not null,
  dropped_at timestamptz not null default clock_timestamp(),
  constraint drop_mark_pkey primary key (topic, partition, below),
  constraint drop_mark_range check (below > 0 and dropped > 0)
);
comment on table sluice.drop_mark is 'How far a partition''s messages were dropped to make room. The highest row counts; others are removed by the retention duty.';
comment on column sluice.drop_mark.below is 'Messages below wait no more: who has not begun them passes over them.';
comment on column sluice.drop_mark.dropped is 'How many messages of the partition were dropped while they waited, ever.';

create table sluice.passed_over (
  position integer not null,
  dropped bigint not null default 0,
  counted_to bigint not null default 0,
  counted int8multirange not null default '{}',
  constraint passed_over_pkey primary key (position),
  constraint passed_over_position foreign key (position) references sluice.position (position) on delete cascade,
  constraint passed_over_range check (dropped >= 0 and counted_to >= 0)
) with (fillfactor = 50);
comment on table sluice.passed_over is 'What a group passed over because it had been dropped, each message counted once. See the view sluice.drops.';
comment on column sluice.passed_over.dropped is 'How many messages.';
comment on column sluice.passed_over.counted_to is 'All below has been done or counted, and is not counted again when the position is moved back.';
comment on column sluice.passed_over.counted is 'What was counted above.';

-- The mark of a partition; null: nothing was dropped.
create function sluice.dropped_below(p_topic integer, p_partition integer) returns bigint language sql stable
return (select m.below from sluice.drop_mark m where m.topic = p_topic and m.partition = p_partition order by m.below desc limit 1);
comment on function sluice.dropped_below(integer, integer) is 'Below which offset messages of a partition were dropped to make room; null: none.';

-- Where what waits begins, per partition: past what every group has done, what retention has dropped, and the mark.
create function sluice.waiting_from(p_topic integer) returns table (partition integer, "offset" bigint) language sql stable
begin atomic
  select s.partition, greatest(s.start_offset, sluice.dropped_below(s.topic, s.partition),
    (select min(p.next_offset) from sluice.position p where p.topic = s.topic and p.partition = s.partition))
  from sluice.segment_start s
  where s.topic = p_topic and s.segment = (select min(f.segment) from sluice.segment f where f.topic = p_topic);
end;
comment on function sluice.waiting_from(integer) is 'Internal: where what waits begins in each partition.';

-- Whether messages of a topic are dropped, or were: its readers have to look at marks.
create function sluice.drops(p_topic integer) returns boolean language sql stable
return exists (select from sluice.guard g where g.topic = p_topic and g.overflow = 'drop-oldest')
  or exists (select from sluice.drop_mark m where m.topic = p_topic);
comment on function sluice.drops(integer) is 'Internal: whether messages of a topic are dropped to make room, or were.';

-- The statement behind sluice.depth, for a topic and its newest segment: a backward probe of a key per partition, and one
-- more for the mark where messages are, or were, dropped. (A closed segment ends with an empty batch at offset 2^62.)
create or replace function sluice.depth_statement(p_topic integer, p_segment integer) returns text language sql stable
return format($sql$select sum(coalesce(l.end_offset, s.start_offset) - greatest(b.start_offset, coalesce(g.next_offset, b.start_offset)%3$s))
    from sluice.segment_start s
    cross join lateral (select f.start_offset from sluice.segment_start f
      where f.topic = %1$s and f.partition = s.partition order by f.segment limit 1) b
    left join lateral (select t.base_offset + t.count as end_offset from sluice_log.topic_%1$s_segment_%2$s t
      where t.partition = s.partition and t.base_offset < 4611686018427387904 order by t.base_offset desc limit 1) l on true
    cross join lateral (select min(p.next_offset) as next_offset from sluice.position p
      where p.topic = %1$s and p.partition = s.partition) g
    where s.topic = %1$s and s.segment = %2$s$sql$, p_topic, p_segment,
  case when sluice.drops(p_topic) then format($sql$, (select m.below from sluice.drop_mark m
      where m.topic = %s and m.partition = s.partition order by m.below desc limit 1)$sql$, p_topic) else '' end);
comment on function sluice.depth_statement(integer, integer) is 'Internal: the statement that counts what waits.';

-- Says what a topic refuses, forgets and bounds; null is no such thing. A producer or consumer asks when it opens the topic, so
-- one that has it open goes on as before until its process starts again. overflow: 'reject' or 'drop-oldest'.
-- Locks: the topic's shape; the row.
drop function sluice.guard_topic(text, bigint, bigint, bigint);
create function sluice.guard_topic(
  topic text, deduplicate_ms bigint default null, max_depth bigint default null, time_to_live_ms bigint default null,
  overflow text default 'reject'
) returns void language plpgsql as $$
declare
  v_topic integer := (select t.topic from sluice.topic t where t.name = guard_topic.topic);
begin
  if v_topic is null then
    raise exception 'sluice: there is no topic %', quote_literal(guard_topic.topic) using errcode = '42704';
  end if;
  perform pg_advisory_xact_lock(1936487681, v_topic);
  insert into sluice.guard as g (topic, deduplicate_ms, max_depth, time_to_live_ms, overflow)
  values (v_topic, guard_topic.deduplicate_ms, guard_topic.max_depth, guard_topic.time_to_live_ms, guard_topic.overflow)
  on conflict on constraint guard_pkey do update set deduplicate_ms = excluded.deduplicate_ms, max_depth = excluded.max_depth,
    time_to_live_ms = excluded.time_to_live_ms, overflow = excluded.overflow
  where (g.deduplicate_ms, g.max_depth, g.time_to_live_ms, g.overflow)
    is distinct from (excluded.deduplicate_ms, excluded.max_depth, excluded.time_to_live_ms, excluded.overflow);
  if guard_topic.max_depth is not null then
    perform sluice.create_depth_function(v_topic);
  end if;
end $$;
comment on function sluice.guard_topic is 'Sets what a topic refuses, forgets and bounds: select sluice.guard_topic(''jobs'', max_depth => 1000, overflow => ''drop-oldest'').';

-- Raises marks: messages of these partitions below these offsets wait no more. What waited and does not is counted.
-- Locks: none; the caller has the guarded topic's.
create function sluice.raise_marks(p_topic integer, p_partitions integer[], p_below bigint[]) returns void language plpgsql as $$
begin
  insert into sluice.drop_mark (topic, partition, below, dropped)
  select p_topic, e.partition, e.below, e.below - w."offset" + coalesce((select m.dropped from sluice.drop_mark m
    where m.topic = p_topic and m.partition = e.partition order by m.below desc limit 1), 0)
  from unnest(p_partitions, p_below) e(partition, below)
  join sluice.waiting_from(p_topic) w on w.partition = e.partition
  where e.below > w."offset";
end $$;
comment on function sluice.raise_marks(integer, integer[], bigint[]) is 'Internal: drops what waits below.';

-- The statement that finds the $3 oldest of what waits in one segment: in partitions $1 from offsets $2 on. It gives where those that
-- are left begin, per partition, and how many it found.
create function sluice.oldest_statement(p_topic integer, p_segment integer) returns text language sql immutable
return format($sql$with waiting as (
        select e.partition, greatest(b.base_offset, e.below) as first, b.base_offset + b.count as next,
          max(b.appended_at) over (partition by e.partition order by b.base_offset) as age
        from unnest($1, $2) e(partition, below)
        cross join lateral (
          select t.base_offset, t.count, t.appended_at from sluice_log.topic_%1$s_segment_%2$s t
          where t.partition = e.partition and t.base_offset < 4611686018427387904 and t.base_offset >= coalesce((
            select l.base_offset from sluice_log.topic_%1$s_segment_%2$s l
            where l.partition = e.partition and l.base_offset <= e.below order by l.base_offset desc limit 1), 0)
          order by t.base_offset limit $3 + 1) b
        where b.base_offset + b.count > e.below),
      summed as (
        select w.*, sum(w.next - w.first) over (order by w.age, w.partition, w.first) - (w.next - w.first) as before from waiting w),
      gone as (
        select s.partition, max(least(s.next, s.first + $3 - s.before::bigint)) as below from summed s where s.before < $3 group by s.partition)
      select array_agg(coalesce(g.below, e.below) order by e.partition), coalesce(sum(g.below - e.below), 0)::bigint
      from unnest($1, $2) e(partition, below) left join gone g on g.partition = e.partition$sql$, p_topic, p_segment);
comment on function sluice.oldest_statement(integer, integer) is 'Internal: the statement that finds the oldest of what waits.';

-- Makes sluice_log.depth_<topic>(): what sluice.depth answers, bound to the topic's newest segment, so that it is planned once
-- per connection; planning it anew is three times the work of answering. It answers null when the segment is not the newest any
-- more, until it is made again. Not made by appends: who may send need not be one who may create. (Second version: where messages are
-- dropped, sluice_log.oldest_<topic> as well, which finds the oldest in that segment, and gives null for any other.)
create or replace function sluice.create_depth_function(p_topic integer) returns void language plpgsql as $$
declare
  v_segment integer := (select max(segment) from sluice.segment where topic = p_topic);
begin
  execute format('create or replace function sluice_log.depth_%1$s() returns bigint language plpgsql stable as %2$L', p_topic,
    format($template$begin
  if exists (select from sluice.segment where topic = %1$s and segment > %2$s) then return null; end if;
  return (%3$s);
end$template$, p_topic, v_segment, sluice.depth_statement(p_topic, v_segment)));
  execute format('comment on function sluice_log.depth_%s() is %L', p_topic,
    format('Sluice: how many messages of topic %s wait. Generated by sluice.create_depth_function.', p_topic));
  if exists (select from sluice.guard g where g.topic = p_topic and g.overflow = 'drop-oldest') then
    execute format('create or replace function sluice_log.oldest_%1$s(p_partitions integer[], p_below bigint[], p_count bigint, p_segment integer,
      out o_below bigint[], out o_gone bigint) language plpgsql stable as %2$L', p_topic,
      format($template$begin
  if p_segment = %1$s then
      %2$s into o_below, o_gone;
  end if;
end$template$, v_segment, sluice.oldest_statement(p_topic, v_segment)));
    execute format('comment on function sluice_log.oldest_%s is %L', p_topic,
      format('Sluice: the oldest of what waits in topic %s. Generated by sluice.create_depth_function.', p_topic));
  end if;
end $$;

-- Drops the p_count oldest of what waits, over all partitions. The oldest is what was appended first, by the database's clock; within
-- a partition by the offset, also when the clock was set back. Batches of one age go partition by partition. Segments
-- follow each other in time, so it looks into as many as it needs, from the oldest on.
-- Locks: none; the caller has the guarded topic's.
create function sluice.drop_oldest(p_topic integer, p_count bigint) returns void language plpgsql as $$
declare
  v_partitions integer[];
  v_from bigint[];
  v_below bigint[];
  v_segment integer;
  v_left bigint := p_count;
  v_gone bigint;
begin
  select array_agg(w.partition order by w.partition), array_agg(w."offset" order by w.partition), min(h.segment)
  into v_partitions, v_from, v_segment
  from sluice.waiting_from(p_topic) w
  cross join lateral (select s.segment from sluice.segment_start s
    where s.topic = p_topic and s.partition = w.partition and s.start_offset <= w."offset" order by s.segment desc limit 1) h;
  for v_segment in select s.segment from sluice.segment s where s.topic = p_topic and s.segment >= v_segment order by s.segment loop
    execute format('select o_below, o_gone from sluice_log.oldest_%s($1, $2, $3, $4)', p_topic)
      into v_below, v_gone using v_partitions, v_from, v_left, v_segment;
    if v_below is null then
      execute sluice.oldest_statement(p_topic, v_segment) into v_below, v_gone using v_partitions, v_from, v_left;
    end if;
    v_from := v_below;
    v_left := v_left - v_gone;
    exit when v_left = 0;
  end loop;
  perform sluice.raise_marks(p_topic, v_partitions, v_from);
end $$;
comment on function sluice.drop_oldest(integer, bigint) is 'Internal: drops the oldest messages that wait.';

-- Drops as many messages as a call of sluice.append_guarded, whose answers these are, has put in beyond the bound; p_depth is what
-- waits with them. When that is more than waited before, all of that goes, and the first of the call's own, in the order of sending.
-- Locks: none; the caller has the guarded topic's.
create function sluice.make_room(p_topic integer, p_depth bigint, p_excess bigint, p_answers text[]) returns void language plpgsql as $$
declare
  v_own bigint := p_excess - p_depth + (select count(*) from unnest(p_answers) a(answer) where a.answer like 'a:%');
begin
  if v_own <= 0 then
    perform sluice.drop_oldest(p_topic, p_excess);
    return;
  end if;
  -- Where each partition ended before the call, and its messages of the call that go.
  perform sluice.raise_marks(p_topic, array_agg(e.partition), array_agg(e.below))
  from (
    select w.partition, coalesce(o.below, sluice.end_offset(p_topic, w.partition)) as below
    from sluice.waiting_from(p_topic) w
    left join (
      select c.partition, coalesce(max(c."offset") filter (where c.number <= v_own) + 1, min(c."offset")) as below
      from (
        select split_part(a.answer, ':', 2)::integer as partition, split_part(a.answer, ':', 3)::bigint as "offset",
          row_number() over (order by a.number) as number
        from unnest(p_answers) with ordinality a(answer, number) where a.answer like 'a:%') c
      group by c.partition) o on o.partition = w.partition) e;
end $$;
comment on function sluice.make_room(integer, bigint, bigint, text[]) is 'Internal: drops what a guarded append has put in beyond the bound.';

-- Appends to a topic that deduplicates or is bounded: in one transaction, what is new and finds room. (Second version: where the
-- topic drops its oldest, room is made, and what is refused because nothing fits is not looked into.)
--
--   messages  in the order of sending: [{"p": partition, "u": unit, "i": message id, "k": key, "v": value, "a": attributes}, …].
--             What has one unit is taken whole or not at all; units lie side by side. Without "i" a message is always new.
--   producer  with sequence, names this call for ever: a repeat answers what the first one did. Null for the relay, whose
--             messages bring their ids along.
--   ring      the payload of the doorbell when something was appended, or null
-- Returns for each message, in order, separated by commas: a:<partition>:<offset>:<id> appended; d:<partition>:<offset>:<id>
-- it was sent before and is there; f:<room> there is no room for its unit, and nothing of that was written.
--
-- Locks: appending to a guarded topic, until the end of the transaction; then those of append_<topic>. Whoever has the
-- lock sees what everybody before it has appended (READ COMMITTED, a statement after it), which is what makes ids and
-- depth exact. Positions are read as they were last written: consumers may be further, so a send may be refused a little
-- early (a commit interval), and never taken too late.
--
-- (Plans are made once, when tables may still be empty: enable_seqscan keeps them from reading a table from end to end.)
create or replace function sluice.append_guarded(
  p_topic integer, p_messages json, p_producer bigint, p_sequence bigint, p_commit text, p_ring text
) returns text language plpgsql set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  v_answer text;
  v_guard sluice.guard%rowtype;
  v_partitions integer[];
  v_units integer[];
  v_message_ids text[];
  v_keys text[];
  v_records text[];
  v_attributes text[];
  v_answers text[];
  v_first integer[];
  v_room bigint;
  v_depth bigint;
  v_from integer := 1;
  v_to integer;
  v_needed integer;
  v_refused boolean;
  v_entries record;
  v_firsts bigint[];
begin
  if pg_advisory_xact_lock(1936487693, p_topic) is null then end if;

  select g.answer into v_answer from sluice.guarded_append g where g.producer = p_producer and g.sequence = p_sequence;
  if found then return v_answer; end if;
  select * into v_guard from sluice.guard g where g.topic = p_topic;
  if v_guard.overflow = 'drop-oldest' then
    -- There is always room, but not for a unit that would have to drop its own beginning.
    v_room := v_guard.max_depth;
  elsif v_guard.max_depth is not null then
    v_room := greatest(v_guard.max_depth - sluice.depth(p_topic), 0);
    -- Nothing fits: what a refusal costs is what overload is made of.
    if v_room = 0 and v_guard.deduplicate_ms is null then
      return repeat('f:0,', json_array_length(p_messages) - 1) || 'f:0';
    end if;
  end if;

  select array_agg((m.message ->> 'p')::integer order by m.number), array_agg((m.message ->> 'u')::integer order by m.number),
    array_agg(coalesce(m.message ->> 'i', m.message -> 'a' ->> 'messageId') order by m.number),
    array_agg(m.message ->> 'k' order by m.number),
    array_agg((m.message -> 'v')::text order by m.number),
    array_agg(nullif((m.message -> 'a')::text, 'null') order by m.number)
  into v_partitions, v_units, v_message_ids, v_keys, v_records, v_attributes
  from json_array_elements(p_messages) with ordinality m(message, number);

  -- What is there already, and what this call holds twice: then the first of them counts.
  if v_guard.deduplicate_ms is null then
    v_message_ids := array_fill(null::text, array[cardinality(v_partitions)]);
    v_answers := v_message_ids;
  else
    select array_agg('d:' || d.partition || ':' || d."offset" || ':' || d.id order by e.number),
      array_agg(case when e.message_id is not null then e.first end order by e.number)
    into v_answers, v_first
    from (
      select u.message_id, u.number::integer, (min(u.number) over (partition by u.message_id))::integer as first
      from unnest(v_message_ids) with ordinality u(message_id, number)
    ) e
    left join lateral (select k.* from sluice.deduplication k
      where k.topic = p_topic and k.message_id = e.message_id and k.expires_at > clock_timestamp() limit 1) d on true;
  end if;

  if v_room is not null then
    -- Unit by unit. One that repeats a message of this call that was refused is refused with it.
    while v_from <= cardinality(v_units) loop
      v_to := v_from;
      v_needed := 0;
      v_refused := false;
      while v_to <= cardinality(v_units) and v_units[v_to] = v_units[v_from] loop
        if v_answers[v_to] is null then
          if coalesce(v_first[v_to], v_to) = v_to then v_needed := v_needed + 1;
          elsif v_answers[v_first[v_to]] like 'f:%' then v_refused := true;
          end if;
        end if;
        v_to := v_to + 1;
      end loop;
      if v_refused or v_needed > v_room then
        for i in v_from .. v_to - 1 loop v_answers[i] := 'f:' || v_room; end loop;
      elsif v_guard.overflow = 'reject' then
        v_room := v_room - v_needed;
      end if;
      v_from := v_to;
    end loop;
  end if;

  select array_agg(b.partition order by b.partition) as partitions, array_agg(b.count order by b.partition) as counts,
    case when bool_or(b.has_keys) then string_agg(b.keys, repeat(E'\x1e', 32) order by b.partition) end as keys,
    string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
    case when bool_or(b.has_attributes) then string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) end as attributes
  into v_entries
  from (
    select e.partition, count(*)::integer as count, count(e.key) > 0 as has_keys, count(e.attributes) > 0 as has_attributes,
      '[' || string_agg(coalesce(to_json(e.key)::text, 'null'), ',' order by e.number) || ']' as keys,
      '[' || string_agg(e.record, ',' order by e.number) || ']' as records,
      '[' || string_agg(coalesce(e.attributes, 'null'), ',' order by e.number) || ']' as attributes
    from rows from (unnest(v_partitions), unnest(v_keys), unnest(v_records), unnest(v_attributes), unnest(v_answers), unnest(v_first))
      with ordinality e(partition, key, record, attributes, answer, first, number)
    where e.answer is null and coalesce(e.first, e.number) = e.number
    group by e.partition
  ) b;

  if v_entries.partitions is not null then
    execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, $6, $7, false, $8, $9)', p_topic) into v_firsts
      using v_entries.partitions, v_entries.counts, v_entries.keys, v_entries.records, v_entries.attributes,
        p_producer, p_sequence, p_commit, p_ring;
    -- Numbered as the append numbers them: partition after partition.
    with appended as (
      select e.number, 'a:' || e.partition || ':' ||
        v_firsts[array_position(v_entries.partitions, e.partition)] + row_number() over (partition by e.partition order by e.number) - 1 || ':' ||
        coalesce(e.attributes::json ->> 'id', p_producer || '-' || p_sequence + row_number() over (order by e.partition, e.number) - 1) as answer
      from rows from (unnest(v_partitions), unnest(v_attributes), unnest(v_answers), unnest(v_first))
        with ordinality e(partition, attributes, answer, first, number)
      where e.answer is null and coalesce(e.first, e.number) = e.number)
    select array_agg(coalesce(e.answer, a.answer) order by e.number) into v_answers
    from unnest(v_answers) with ordinality e(answer, number) left join appended a using (number);

    if v_guard.overflow = 'drop-oldest' then
      v_depth := sluice.depth(p_topic);
      if v_depth > v_guard.max_depth then
        perform sluice.make_room(p_topic, v_depth, v_depth - v_guard.max_depth, v_answers);
      end if;
    end if;

    if v_guard.deduplicate_ms is not null then
      insert into sluice.deduplication as d (topic, message_id, partition, "offset", id, expires_at)
      select p_topic, e.message_id, split_part(e.answer, ':', 2)::integer, split_part(e.answer, ':', 3)::bigint, split_part(e.answer, ':', 4),
        clock_timestamp() + make_interval(secs => v_guard.deduplicate_ms / 1000.0)
      from rows from (unnest(v_message_ids), unnest(v_answers)) e(message_id, answer)
      where e.message_id is not null and e.answer like 'a:%'
      on conflict on constraint deduplication_pkey do update set
        partition = excluded.partition, "offset" = excluded."offset", id = excluded.id, expires_at = excluded.expires_at;
    end if;
  end if;

  select string_agg(coalesce(e.answer, 'd' || substr(v_answers[e.first], 2)), ',' order by e.number) into v_answer
  from rows from (unnest(v_answers), unnest(v_first)) with ordinality e(answer, first, number);
  if v_firsts is not null and p_producer is not null then
    insert into sluice.guarded_append (producer, sequence, answer, expires_at)
    values (p_producer, p_sequence, v_answer, clock_timestamp() + interval '1 hour');
  end if;
  return v_answer;
end $$;
comment on function sluice.append_guarded is 'Internal: appends to a topic that deduplicates or is bounded.';

-- Lets messages of committed transactions, or that came due, into the log past the topic's guard, in their order; what finds no
-- room is held, and nobody overtakes those who are. Each message is {"p", "k", "v", "a"} as in sluice.append_guarded, with its id
-- among its attributes.
-- Locks: as sluice.append_guarded; its first lock before it looks who waits, for the relay and the mover may both be here.
create function sluice.admit(p_topic integer, p_messages json) returns void language plpgsql as $$
declare
  v_answers text[];
begin
  perform pg_advisory_xact_lock(1936487693, p_topic);
  if exists (select from sluice.held h where h.topic = p_topic) then
    v_answers := array_fill('f:0'::text, array[json_array_length(p_messages)]);
  else
    v_answers := sluice.append_alone(p_topic, p_messages);
  end if;
  insert into sluice.held (topic, message)
  select p_topic, m.message
  from json_array_elements(p_messages) with ordinality m(message, number)
  where v_answers[m.number] like 'f:%' order by m.number;
end $$;
comment on function sluice.admit(integer, json) is 'Internal: lets messages into the log past their topic''s guard, or holds them.';

-- Whether a topic is appended to past a guard.
create function sluice.is_guarded(p_topic integer) returns boolean language sql stable
return exists (select from sluice.guard g where g.topic = p_topic and (g.deduplicate_ms is not null or g.max_depth is not null));
comment on function sluice.is_guarded(integer) is 'Internal: whether a topic deduplicates or is bounded.';

-- Lets the relay's messages of one topic into the log: straight for an ordinary topic; past its guard for one that has one,
-- and what finds no room is held. The arrays and texts are those of append_<topic>; each message has the id that its sender was
-- told, "o-<outbox>", and across partitions they come in the order in which they were sent: of two with one message id the first
-- counts.
-- Locks: as append_<topic> or sluice.append_guarded.
create or replace function sluice.let_in(
  p_topic integer, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text
) returns void language plpgsql as $$
declare
  v_messages json;
begin
  if not sluice.is_guarded(p_topic) then
    execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, $6, null)', p_topic)
      using p_partitions, p_counts, p_keys, p_records, p_attributes, current_setting('synchronous_commit');
    return;
  end if;
  select json_agg(json_build_object('p', b.partition, 'u', 0, 'k', r.key, 'v', r.value, 'a', r.attributes)
    order by substr(r.attributes ->> 'id', 3)::bigint) into v_messages
  from rows from (
    unnest(p_partitions), unnest(string_to_array(p_keys, repeat(E'\x1e', 32))), unnest(string_to_array(p_records, repeat(E'\x1e', 32))),
    unnest(string_to_array(p_attributes, repeat(E'\x1e', 32)))
  ) with ordinality b(partition, keys, records, attributes, number)
  cross join lateral rows from (
    json_array_elements(b.records::json), json_array_elements_text(b.keys::json), json_array_elements(b.attributes::json)
  ) with ordinality r(value, key, attributes, number);
  perform sluice.admit(p_topic, v_messages);
end $$;
comment on function sluice.let_in is 'Internal: what the relay does with the messages of one topic.';

-- Moves what is due from sluice.delayed into the log, in the order of due times: deleting and appending in one transaction,
-- so a message is in one of the two, always. The clock is read before anything is picked, so what is appended was due. (Second
-- version: a topic may have a guard, and what that holds back is in sluice.held meanwhile.)
--
-- p_floor: look at what is due from here on; null: at everything. Rows that were deleted but cannot be vacuumed because
-- some transaction is held open would else be walked over in every look. The floor for the next look comes back: below what
-- is left, and two seconds back, for rows whose transaction commits a little after their due time. (Those that commit later
-- still are found by the looks at everything.) A row that is being recalled is passed over and stays above the floor.
-- p_limit, p_bytes: messages, and bytes of their values, of one move at most; a larger message moves alone.
--
-- Returns how many were moved, which partitions of which topics got some ('topic partition …'), the floor for the next look,
-- and how long until the next is due, in milliseconds; null when there is none.
--
-- Locks: the duty's fence, shared; rows; then, by topic ascending, that of a guarded one and appending, by partition ascending.
create or replace function sluice.move_delayed(p_epoch bigint, p_floor timestamptz, p_limit integer, p_bytes bigint)
returns table (moved integer, rings text[], floor timestamptz, wait_ms double precision) language plpgsql
-- Whatever the statistics say: by the index on due, in its order, and as far as the limit.
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
as $$
declare
  v_now timestamptz;
  v_floor timestamptz := coalesce(p_floor, '-infinity');
  v_next timestamptz;
  v_topic record;
begin
  perform sluice.assert_duty(3, p_epoch);
  v_now := clock_timestamp();
  moved := 0;
  rings := '{}';
  for v_topic in
    with picked as materialized (
      select d.due, d.delayed, octet_length(d.value) as bytes from sluice.delayed d
      where d.due >= v_floor and d.due <= v_now
      order by d.due, d.delayed limit p_limit for update skip locked),
    fitting as materialized (
      select s.delayed from (
        select p.delayed, sum(p.bytes) over (order by p.due, p.delayed) - p.bytes as before from picked p
      ) s where s.before < p_bytes),
    gone as (
      delete from sluice.delayed d using fitting f where d.delayed = f.delayed returning d.*),
    guarded as materialized (
      select g.topic, json_agg(json_build_object('p', g.partition, 'k', g.key, 'v', g.value::json,
        'a', (coalesce(left(g.attributes, -1) || ',', '{') || '"id":"d-' || g.delayed || '"}')::json) order by g.due, g.delayed) as messages
      from gone g
      where g.topic = any (array(select u.topic from sluice.guard u where u.deduplicate_ms is not null or u.max_depth is not null))
      group by g.topic),
    batch as (
      select g.topic, g.partition, count(*)::integer as count,
        case when count(g.key) > 0 then '[' || string_agg(coalesce(to_json(g.key)::text, 'null'), ',' order by g.due, g.delayed) || ']' end as keys,
        '[' || string_agg(g.value, ',' order by g.due, g.delayed) || ']' as records,
        -- The id that the sender was told goes along: into the attributes where there are some.
        '[' || string_agg(coalesce(left(g.attributes, -1) || ',', '{') || '"id":"d-' || g.delayed || '"}', ',' order by g.due, g.delayed) || ']' as attributes
      from gone g group by g.topic, g.partition)
    select b.topic,
      sum(b.count)::integer as moved,
      array_agg(b.partition order by b.partition) as partitions,
      array_agg(b.count order by b.partition) as counts,
      string_agg(coalesce(b.keys, '[]'), repeat(E'\x1e', 32) order by b.partition) as keys,
      string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes,
      (select u.messages from guarded u where u.topic = b.topic) as messages
    from batch b group by b.topic order by b.topic
  loop
    if v_topic.messages is not null then
      perform sluice.admit(v_topic.topic, v_topic.messages);
    else
      execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, $6, null)', v_topic.topic)
        using v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes, current_setting('synchronous_commit');
    end if;
    moved := moved + v_topic.moved;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  select d.due into v_next from sluice.delayed d where d.due >= v_floor order by d.due, d.delayed limit 1;
  floor := least(v_next, v_now - interval '2 seconds');
  wait_ms := extract(epoch from v_next - clock_timestamp()) * 1000;
  return next;
end $$;
comment on function sluice.move_delayed is 'Internal: moves what is due into the log.';


-- Appends within a stage's transaction to a guarded topic: all of it or, with SQLSTATE SL016, nothing, so that the stage tries again when
-- there is room. Messages are those of sluice.append_guarded, without units. One that was sent before is dropped.
-- Locks: as sluice.append_guarded, until the end of the transaction; see sluice.append_within.
create function sluice.append_guarded_within(p_topic integer, p_messages json, p_ring text) returns void language plpgsql as $$
declare
  v_guard sluice.guard%rowtype;
  v_answer text;
begin
  select * into v_guard from sluice.guard g where g.topic = p_topic;
  if json_array_length(p_messages) > v_guard.max_depth and v_guard.overflow = 'reject' then
    raise exception 'sluice: % messages of one transaction are more than topic % may ever hold', json_array_length(p_messages), p_topic
      using errcode = 'SL017';
  end if;
  v_answer := sluice.append_guarded(p_topic,
    (select json_agg(json_build_object('p', m.message -> 'p', 'u', case v_guard.overflow when 'drop-oldest' then m.number else 0 end,
      'k', m.message -> 'k', 'v', m.message -> 'v', 'a', m.message -> 'a') order by m.number)
      from json_array_elements(p_messages) with ordinality m(message, number)),
    null, 0, 'on', p_ring);
  if v_answer ~ '(^|,)f:' then
    raise exception 'sluice: topic % is full', p_topic using errcode = 'SL016';
  end if;
end $$;
comment on function sluice.append_guarded_within(integer, json, text) is 'Internal: appends within a stage''s transaction to a guarded topic.';

-- Counts messages that a position's group passes over because they were dropped, each once, however often this is said of it.
-- Locks: the row.
create function sluice.count_dropped(p_position integer, p_ranges int8multirange) returns bigint language plpgsql as $$
declare
  v_next bigint := (select p.next_offset from sluice.position p where p.position = p_position);
  v_row sluice.passed_over%rowtype;
  v_new int8multirange;
  v_count bigint;
begin
  insert into sluice.passed_over (position) values (p_position) on conflict on constraint passed_over_pkey do nothing;
  select * into v_row from sluice.passed_over o where o.position = p_position for update;
  v_new := p_ranges * int8multirange(int8range(v_row.counted_to, null)) - v_row.counted;
  v_count := coalesce((select sum(upper(r) - lower(r)) from unnest(v_new) r), 0);
  update sluice.passed_over o set
    dropped = o.dropped + v_count, counted_to = greatest(o.counted_to, v_next),
    counted = o.counted + v_new - int8multirange(int8range(null, greatest(o.counted_to, v_next)))
  where o.position = p_position;
  return v_count;
end $$;
comment on function sluice.count_dropped(integer, int8multirange) is 'Internal: counts what a group passes over, each message once.';

-- The owner of a position passes over messages that were dropped and that it had not begun. Returns how many it is the first to say so
-- of; null when the position has another owner. The position itself is written as always, some time later.
-- Locks: the fence of the position, shared; then the row of what it passed over.
create function sluice.pass_over(p_position integer, p_epoch bigint, p_ranges int8multirange) returns bigint language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  perform from sluice.position p where p.position = p_position and p.epoch = p_epoch;
  return case when found then sluice.count_dropped(p_position, p_ranges) end;
end $$;
comment on function sluice.pass_over(integer, bigint, int8multirange) is 'Internal: an owner passes over messages that were dropped.';

-- A shared group passes over what was dropped and is leased to nobody; what is leased is in a member's hands. Gives what each position
-- passed over.
-- Locks: leasing, per position in ascending order; the position's row; the row of what it passed over.
create function sluice.pass_over_shared(p_positions integer[])
returns table ("position" integer, from_offset bigint, to_offset bigint) language plpgsql as $$
begin
  for "position" in select unnest(p_positions) order by 1 loop
    -- The mark first and without the lock: nearly always there is nothing to pass over.
    continue when not exists (select from sluice.position p
      where p.position = pass_over_shared."position" and p.next_offset < sluice.dropped_below(p.topic, p.partition));
    perform pg_advisory_xact_lock(1936487691, "position");
    -- As sluice.lease_ranges looks for where the next range begins.
    select greatest(p.next_offset, upper(p.done_above), (
        select max(l.to_offset) from sluice.lease l
        where l.position = p.position and l.to_offset > greatest(p.next_offset, upper(p.done_above)))),
      sluice.dropped_below(p.topic, p.partition)
    into from_offset, to_offset from sluice.position p where p.position = pass_over_shared."position";
    continue when from_offset >= to_offset;
    perform sluice.count_dropped("position", int8multirange(int8range(from_offset, to_offset)));
    perform sluice.fold_done("position", int8multirange(int8range(from_offset, to_offset)));
    return next;
  end loop;
end $$;
comment on function sluice.pass_over_shared(integer[]) is 'Internal: a shared group passes over messages that were dropped.';

-- Removes marks that are not the highest of their partition, p_limit at most, and returns how many: call it again while that is p_limit.
-- Locks: the rows, which nobody waits for.
create function sluice.forget_marks(p_limit integer) returns integer language plpgsql set enable_seqscan = off as $$
declare
  v record;
  v_gone integer;
  v_all integer := 0;
begin
  for v in
    select n.topic, n.partition, sluice.dropped_below(n.topic, n.partition) as below
    from (select t.topic, generate_series(0, t.partitions - 1) as partition from sluice.topic t where sluice.drops(t.topic)) n
  loop
    delete from sluice.drop_mark m where m.ctid = any (array(
      select d.ctid from sluice.drop_mark d
      where d.topic = v.topic and d.partition = v.partition and d.below < v.below order by d.below limit p_limit - v_all for update skip locked));
    get diagnostics v_gone = row_count;
    v_all := v_all + v_gone;
    exit when v_all = p_limit;
  end loop;
  return v_all;
end $$;
comment on function sluice.forget_marks(integer) is 'Internal: removes marks that a higher one has replaced.';

-- Up to where retention may drop, and must not, per partition of a topic: where the groups that have positions in it are, what
-- failed in them and waits included. Null: no group has a position there, or none that is protected. (Second version: what was dropped
-- to make room waits for nobody, unless a member has leased it.)
-- Locks: none. Positions only move on, so what is read here stays safe.
create or replace function sluice.retention_bounds(p_topic integer)
returns table (partition integer, consumed_to bigint, protected_from bigint) language sql stable as $$
  select n.partition, min(held.until), min(held.until) filter (where held.protected)
  from sluice.topic t
  cross join lateral generate_series(0, t.partitions - 1) n(partition)
  left join lateral (
    select least(case when m.below > p.next_offset
        then least(m.below, (select min(l.from_offset) from sluice.lease l where l.position = p.position)) else p.next_offset end,
      (select min(r."offset") from sluice.shared_retry r where r.position = p.position)) as until,
      coalesce(gt.protected, false) as protected
    from sluice.position p left join sluice.group_topic gt on gt."group" = p."group" and gt.topic = p.topic
    cross join lateral (select sluice.dropped_below(p.topic, p.partition) as below) m
    where p.topic = t.topic and p.partition = n.partition) held on true
  where t.topic = p_topic
  group by n.partition
$$;

create or replace view sluice.guards as
select t.name as topic, make_interval(secs => g.deduplicate_ms / 1000.0) as deduplicate, make_interval(secs => g.time_to_live_ms / 1000.0) as time_to_live,
  g.max_depth, sluice.depth(t.topic) as depth, (select count(*) from sluice.held h where h.topic = t.topic) as held, g.overflow,
  (select coalesce(sum(m.dropped), 0)::bigint from generate_series(0, t.partitions - 1) n(partition)
    cross join lateral (select d.dropped from sluice.drop_mark d
      where d.topic = t.topic and d.partition = n.partition order by d.below desc limit 1) m) as dropped
from sluice.guard g join sluice.topic t using (topic);
comment on column sluice.guards.overflow is 'What becomes of a send beyond max_depth: reject fails it, drop-oldest makes room.';
comment on column sluice.guards.dropped is 'Messages that were dropped while they waited. See sluice.drops for what groups passed over.';

create view sluice.drops as
select g.name as "group", t.name as topic, p.partition, m.below as dropped_below, coalesce(o.dropped, 0) as dropped
from sluice.position p
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
cross join lateral (select sluice.dropped_below(p.topic, p.partition) as below) m
left join sluice.passed_over o on o.position = p.position
where m.below is not null;
comment on view sluice.drops is 'Sluice: how many messages each group passed over because they had been dropped to make room.';
comment on column sluice.drops.dropped_below is 'Messages below wait no more.';
comment on column sluice.drops.dropped is 'Messages that were never handed over to the group, each counted once, when it passed over them.';
