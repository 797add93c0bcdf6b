-- breaking: no
-- What a topic refuses, forgets and bounds: a window in which a message id is taken once, a time to live, a depth; and, for
-- consumers, keys whose effect happens once.
--
-- An ordinary topic pays nothing: its appends do not come by here. A topic that deduplicates or is bounded is appended to by
-- sluice.append_guarded alone, under one lock per topic. One more class of advisory locks, taken before those of appending:
--   1936487693  appending to a guarded topic       key: the topic's number                          transaction

create table sluice.guard (
  topic integer not null,
  deduplicate_ms bigint,
  max_depth bigint,
  time_to_live_ms bigint,
  constraint guard_pkey primary key (topic),
  constraint guard_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint guard_deduplicate_range check (deduplicate_ms between 1 and 604800000),
  constraint guard_max_depth_range check (max_depth between 1 and 1000000000),
  constraint guard_time_to_live_positive check (time_to_live_ms > 0)
);
comment on table sluice.guard is 'What a topic refuses, forgets and bounds; a topic without a row does none of it. See the view sluice.guards.';
comment on column sluice.guard.deduplicate_ms is 'For how long after a message id was sent it is not taken again; null: ids are not looked at.';
comment on column sluice.guard.max_depth is 'How many messages may wait; a send beyond is refused. Null: as many as there is room on disk.';
comment on column sluice.guard.time_to_live_ms is 'How long after its append a message may be handed over, unless it says so itself; null: for ever.';

-- Written once and never updated but for an id that comes again after its window; looked up by its key alone, so dead rows,
-- which a transaction that is held open keeps there, are in nobody's way. (No foreign keys here: their checks would lock the
-- topic's row on behalf of every sender.)
create table sluice.deduplication (
  topic integer not null,
  message_id text collate "C" not null,
  partition integer not null,
  "offset" bigint not null,
  id text not null,
  expires_at timestamptz not null,
  constraint deduplication_pkey primary key (topic, message_id),
  constraint deduplication_message_id_length check (length(message_id) between 1 and 128),
  constraint deduplication_id_length check (length(id) between 1 and 100)
);
comment on table sluice.deduplication is 'Message ids that were sent within their topic''s window, and where the first one is. Expired rows are removed by the retention duty.';
create index deduplication_expires_at on sluice.deduplication (expires_at);

-- The answer of each guarded append, so that a repeat gets the same one, whatever has been sent since.
create table sluice.guarded_append (
  producer bigint not null,
  sequence bigint not null,
  answer text not null,
  expires_at timestamptz not null,
  constraint guarded_append_pkey primary key (producer, sequence),
  constraint guarded_append_answer_size check (octet_length(answer) <= 16777216)
);
comment on table sluice.guarded_append is 'What producers were told, for an hour: one whose answer was lost asks again and hears the same.';
create index guarded_append_expires_at on sluice.guarded_append (expires_at);

-- Messages of committed transactions that found their topic full. The relay lets them in, oldest first, when there is room.
create table sluice.held (
  topic integer not null,
  held bigint generated always as identity,
  message json not null,
  held_at timestamptz not null default clock_timestamp(),
  constraint held_pkey primary key (topic, held),
  constraint held_message_size check (octet_length(message::text) <= 2097152)
);
comment on table sluice.held is 'Messages of transactions that wait because their topic is full. As with sluice.outbox: a row is here if and only if its message is not in the log.';

create table sluice.idempotence (
  "group" text not null,
  key text collate "C" not null,
  expires_at timestamptz not null,
  constraint idempotence_pkey primary key ("group", key),
  constraint idempotence_group_length check (length("group") between 1 and 120),
  constraint idempotence_key_length check (length(key) between 1 and 512)
);
comment on table sluice.idempotence is 'Keys whose effect a group has had: a row commits with the effect. Expired rows are removed by the retention duty.';
create index idempotence_expires_at on sluice.idempotence (expires_at);

alter table sluice.dead_letter drop constraint dead_letter_reason_known;
alter table sluice.dead_letter add constraint dead_letter_reason_known check (reason in ('exhausted', 'schema', 'rejected', 'expired'));

-- Makes sluice_log.depth_<topic>(): what sluice.depth answers, bound to the topic's newest segment, so that it is planned once
-- per connection; planning it anew is three times the work of answering. It answers null when the segment is not the newest any
-- more, until it is made again. Not made by appends: who may send need not be one who may create.
create function sluice.create_depth_function(p_topic integer) returns void language plpgsql as $$
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
end $$;
comment on function sluice.create_depth_function(integer) is 'Internal: makes a bounded topic''s depth function for its newest segment.';

-- The statement behind sluice.depth, for a topic and its newest segment: a backward probe of a key per partition.
-- (A closed segment ends with an empty batch at offset 2^62.)
create function sluice.depth_statement(p_topic integer, p_segment integer) returns text language sql immutable
return format($sql$select sum(coalesce(l.end_offset, s.start_offset) - greatest(b.start_offset, coalesce(g.next_offset, b.start_offset)))
    from sluice.segment_start s
    cross join lateral (select f.start_offset from sluice.segment_start f
      where f.topic = %1$s and f.partition = s.partition order by f.segment limit 1) b
    left join lateral (select t.base_offset + t.count as end_offset from sluice_log.topic_%1$s_segment_%2$s t
      where t.partition = s.partition and t.base_offset < 4611686018427387904 order by t.base_offset desc limit 1) l on true
    cross join lateral (select min(p.next_offset) as next_offset from sluice.position p
      where p.topic = %1$s and p.partition = s.partition) g
    where s.topic = %1$s and s.segment = %2$s$sql$, p_topic, p_segment);
comment on function sluice.depth_statement(integer, integer) is 'Internal: the statement that counts what waits.';

create index position_topic on sluice.position (topic, partition);

-- How many messages of a topic wait: per partition, those that its slowest group has not passed; without any group, those
-- that retention has left.
create function sluice.depth(p_topic integer) returns bigint language plpgsql stable as $$
declare
  v_depth bigint;
begin
  if exists (select from sluice.guard g where g.topic = p_topic and g.max_depth is not null) then
    execute format('select sluice_log.depth_%s()', p_topic) into v_depth;
  end if;
  if v_depth is null then
    execute sluice.depth_statement(p_topic, (select max(segment) from sluice.segment where topic = p_topic)) into v_depth;
  end if;
  return v_depth;
end $$;
comment on function sluice.depth(integer) is 'How many messages of a topic its slowest group has not done yet; without a group, how many there are.';

-- Makes the depth functions again whose topics have a newer segment.
-- Locks: the topics' shapes, ascending.
create function sluice.refresh_depths() returns void language plpgsql as $$
declare
  v_topic integer;
  v_depth bigint;
begin
  for v_topic in select g.topic from sluice.guard g where g.max_depth is not null order by g.topic loop
    execute format('select sluice_log.depth_%s()', v_topic) into v_depth;
    if v_depth is null then
      perform pg_advisory_xact_lock(1936487681, v_topic);
      perform sluice.create_depth_function(v_topic);
    end if;
  end loop;
end $$;
comment on function sluice.refresh_depths() is 'Internal: makes depth functions again after a roll.';

-- Says what a topic refuses, forgets and bounds; null is no such thing. A producer asks when it opens the topic, so one
-- that has it open goes on as before until its process starts again.
-- Locks: the topic's shape; the row.
create function sluice.guard_topic(
  topic text, deduplicate_ms bigint default null, max_depth bigint default null, time_to_live_ms bigint default null
) returns void language plpgsql as $$
declare
  v_topic integer := (select t.topic from sluice.topic t where t.name = guard_topic.topic);
begin
  if v_topic is null then
    raise exception 'sluice: there is no topic %', quote_literal(guard_topic.topic) using errcode = '42704';
  end if;
  perform pg_advisory_xact_lock(1936487681, v_topic);
  insert into sluice.guard as g (topic, deduplicate_ms, max_depth, time_to_live_ms)
  values (v_topic, guard_topic.deduplicate_ms, guard_topic.max_depth, guard_topic.time_to_live_ms)
  on conflict on constraint guard_pkey do update set
    deduplicate_ms = excluded.deduplicate_ms, max_depth = excluded.max_depth, time_to_live_ms = excluded.time_to_live_ms
  where (g.deduplicate_ms, g.max_depth, g.time_to_live_ms)
    is distinct from (excluded.deduplicate_ms, excluded.max_depth, excluded.time_to_live_ms);
  if guard_topic.max_depth is not null then
    perform sluice.create_depth_function(v_topic);
  end if;
end $$;
comment on function sluice.guard_topic is 'Sets what a topic refuses, forgets and bounds: select sluice.guard_topic(''jobs'', max_depth => 1000).';

-- Appends to a topic that deduplicates or is bounded: in one transaction, what is new and finds room.
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
create function sluice.append_guarded(
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

  if v_guard.max_depth is not null then
    v_room := v_guard.max_depth - sluice.depth(p_topic);
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
      if v_refused or v_needed > greatest(v_room, 0) then
        for i in v_from .. v_to - 1 loop v_answers[i] := 'f:' || greatest(v_room, 0); end loop;
      else
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

-- Lets the relay's messages of one topic into the log: straight for an ordinary topic; past its guard for one that has one,
-- and what finds no room is held. The arrays and texts are those of append_<topic>; each message has the id that its sender was
-- told, "o-<outbox>", and across partitions they come in the order in which they were sent: of two with one message id the first
-- counts.
-- Locks: as append_<topic> or sluice.append_guarded.
create function sluice.let_in(
  p_topic integer, p_partitions integer[], p_counts integer[], p_keys text, p_records text, p_attributes text
) returns void language plpgsql as $$
declare
  v_messages json;
  v_answers text[];
begin
  if not exists (select from sluice.guard g where g.topic = p_topic and (g.deduplicate_ms is not null or g.max_depth is not null)) then
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
  -- Nobody overtakes those who wait.
  if exists (select from sluice.held h where h.topic = p_topic) then
    v_answers := array_fill('f:0'::text, array[json_array_length(v_messages)]);
  else
    v_answers := sluice.append_alone(p_topic, v_messages);
  end if;
  insert into sluice.held (topic, message)
  select p_topic, m.message
  from json_array_elements(v_messages) with ordinality m(message, number)
  where v_answers[m.number] like 'f:%' order by m.number;
end $$;
comment on function sluice.let_in is 'Internal: what the relay does with the messages of one topic.';

-- sluice.append_guarded for the relay: each message is a unit of its own.
-- Locks: as there.
create function sluice.append_alone(p_topic integer, p_messages json) returns text[] language sql
return string_to_array(sluice.append_guarded(p_topic,
  (select json_agg(json_build_object('p', m.message -> 'p', 'u', m.number, 'k', m.message -> 'k', 'v', m.message -> 'v', 'a', m.message -> 'a')
    order by m.number) from json_array_elements(p_messages) with ordinality m(message, number)),
  null, 0, current_setting('synchronous_commit'), null), ',');
comment on function sluice.append_alone(integer, json) is 'Internal: a guarded append of messages that have nothing to do with each other.';

-- Lets held messages into the log, oldest first, as far as there is room: deleting and appending in one transaction. Gives
-- the topics that got some, as doorbells: 'topic partition …'. The caller has the relay's duty.
-- Locks: per topic, ascending, as sluice.append_guarded.
create function sluice.let_held_in(p_limit integer) returns setof text language plpgsql as $$
declare
  v_topic integer;
  v_held bigint[];
  v_messages json;
  v_answers text[];
begin
  for v_topic in
    select t.topic from sluice.guard t where exists (select from sluice.held h where h.topic = t.topic) order by t.topic
  loop
    select array_agg(h.held order by h.held), json_agg(h.message order by h.held) into v_held, v_messages
    from (select h.held, h.message from sluice.held h where h.topic = v_topic order by h.held limit p_limit) h;
    v_answers := sluice.append_alone(v_topic, v_messages);
    delete from sluice.held h using unnest(v_held, v_answers) e(held, answer)
    where h.topic = v_topic and h.held = e.held and e.answer not like 'f:%';
    return query
      select v_topic || ' ' || string_agg(distinct split_part(e.answer, ':', 2), ' ')
      from unnest(v_answers) e(answer) where e.answer like 'a:%' having count(*) > 0;
  end loop;
end $$;
comment on function sluice.let_held_in(integer) is 'Internal: lets messages in that wait because their topic was full.';

-- Moves messages of committed transactions from the outbox into the log, in the order of their transactions: deleting
-- and appending in one transaction, so a message is in one of the two, always. (Second version: a topic may have a guard, and
-- what that holds back is in sluice.held meanwhile.)
--
-- p_since is the snapshot of the last look, null for the first look of a term: the rows to look at are those of
-- transactions that began since, and of those that were under way then. A transaction held open for an hour costs
-- nothing, and rows that were deleted but cannot be vacuumed yet are not walked over again.
--
-- Returns how many were moved, which partitions of which topics got some (for the doorbell: 'topic partition …'), and the
-- snapshot for the next look: p_since again when p_limit cut this look short.
--
-- Locks: the duty's fence, shared; outbox rows; then appending, by topic and partition ascending.
create or replace function sluice.relay(p_epoch bigint, p_since pg_snapshot, p_limit integer)
returns table (moved integer, rings text[], snapshot pg_snapshot) language plpgsql
-- The table is nearly always empty but may be bloated: never read it from end to end.
set enable_seqscan = off
as $$
declare
  v_now pg_snapshot;
  v_begun xid8 := coalesce(pg_snapshot_xmax(p_since), '0'::xid8);
  v_topic record;
begin
  perform sluice.assert_duty(1, p_epoch);
  v_now := pg_current_snapshot();
  moved := 0;
  rings := array(select r.ring from sluice.let_held_in(p_limit) r(ring));
  for v_topic in
    with picked as materialized (
      select c.xid, c.outbox from (
        select o.xid, o.outbox from sluice.outbox o
        where o.xid = any (array(select pg_snapshot_xip(p_since))) and pg_visible_in_snapshot(o.xid, v_now)
        union all
        (select o.xid, o.outbox from sluice.outbox o
        where o.xid >= v_begun and o.xid < pg_snapshot_xmax(v_now) and pg_visible_in_snapshot(o.xid, v_now)
        order by o.xid, o.outbox limit p_limit)
      ) c order by c.xid, c.outbox limit p_limit),
    gone as (
      delete from sluice.outbox o using picked p where o.xid = p.xid and o.outbox = p.outbox returning o.*),
    batch as (
      select g.topic, g.partition, count(*)::integer as count,
        case when count(g.key) > 0 then '[' || string_agg(coalesce(to_json(g.key)::text, 'null'), ',' order by g.xid, g.outbox) || ']' end as keys,
        '[' || string_agg(g.value, ',' order by g.xid, g.outbox) || ']' as records,
        -- The id that the sender was told goes along: into the attributes where there are some.
        '[' || string_agg(coalesce(left(g.attributes, -1) || ',', '{') || '"id":"o-' || g.outbox || '"}', ',' order by g.xid, g.outbox) || ']' as attributes
      from gone g group by g.topic, g.partition)
    select b.topic,
      sum(b.count)::integer as moved,
      array_agg(b.partition order by b.partition) as partitions,
      array_agg(b.count order by b.partition) as counts,
      string_agg(coalesce(b.keys, '[]'), repeat(E'\x1e', 32) order by b.partition) as keys,
      string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes
    from batch b group by b.topic order by b.topic
  loop
    perform sluice.let_in(v_topic.topic, v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes);
    moved := moved + v_topic.moved;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  snapshot := case when moved < p_limit then v_now else p_since end;
  return next;
end $$;

-- Sends one message within your transaction, unless its message id was sent to the topic within the topic's window: what
-- enters the log when the transaction commits is decided then, so the answer is the message's id in any case.
--
--   select sluice.send_once('orders', message_id => 'order-7', value => '{"order":7}');
--
-- Fails as sluice.send does, and when the topic does not deduplicate (SQLSTATE 22023).
create function sluice.send_once(
  topic text, message_id text, value json, key text default null, headers json default null, partition integer default null
) returns text language plpgsql as $$
declare
  v_id text;
begin
  if not exists (
    select from sluice.topic t join sluice.guard g using (topic) where t.name = send_once.topic and g.deduplicate_ms is not null
  ) and exists (select from sluice.topic t where t.name = send_once.topic) then
    raise exception 'sluice: topic % does not deduplicate', quote_literal(send_once.topic)
      using errcode = '22023', hint = 'select sluice.guard_topic(''name'', deduplicate_ms => 300000);';
  end if;
  if message_id is null or length(message_id) not between 1 and 128 then
    raise exception 'sluice: a message id has 1 to 128 characters' using errcode = '22023';
  end if;
  v_id := sluice.send(topic => send_once.topic, value => send_once.value, key => send_once.key,
    headers => send_once.headers, partition => send_once.partition);
  update sluice.outbox o set
    attributes = coalesce(left(o.attributes, -1) || ',', '{') || '"messageId":' || to_json(send_once.message_id)::text || '}'
  where o.xid = pg_current_xact_id() and o.outbox = substr(v_id, 3)::bigint;
  return v_id;
end $$;
comment on function sluice.send_once is 'Sends one message within your transaction unless its message id was sent within the topic''s window.';

-- Claims a key for a group within the caller's transaction: true when its effect is the caller's to have, false when it was
-- had. Waits for one that has claimed it and not ended yet.
-- Locks: the row of the key, until the transaction ends; taken before the fence of a position.
create function sluice.claim_key(p_group text, p_key text, p_keep_ms bigint) returns boolean language plpgsql as $$
begin
  insert into sluice.idempotence ("group", key, expires_at)
  values (p_group, p_key, clock_timestamp() + make_interval(secs => p_keep_ms / 1000.0))
  on conflict on constraint idempotence_pkey do nothing;
  return found;
end $$;
comment on function sluice.claim_key(text, text, bigint) is 'Claims a key for a group in the caller''s transaction; false when its effect was had before.';

-- Removes what has expired, p_limit rows of each table at most, and returns the most that one table lost: call it again while
-- that is p_limit.
-- Locks: the rows, none that somebody waits for: they have expired for whoever looks.
create function sluice.forget_expired(p_limit integer) returns integer language plpgsql set enable_seqscan = off as $$
declare
  v_table text;
  v_gone integer;
  v_most integer := 0;
begin
  foreach v_table in array array['deduplication', 'guarded_append', 'idempotence'] loop
    execute format('delete from sluice.%1$I where ctid = any (array(
      select ctid from sluice.%1$I where expires_at < clock_timestamp() order by expires_at limit $1 for update skip locked))', v_table)
      using p_limit;
    get diagnostics v_gone = row_count;
    v_most := greatest(v_most, v_gone);
  end loop;
  return v_most;
end $$;
comment on function sluice.forget_expired(integer) is 'Removes expired message ids, answers and keys, in a step of bounded size.';

create view sluice.guards as
select t.name as topic, make_interval(secs => g.deduplicate_ms / 1000.0) as deduplicate, make_interval(secs => g.time_to_live_ms / 1000.0) as time_to_live,
  g.max_depth, sluice.depth(t.topic) as depth, (select count(*) from sluice.held h where h.topic = t.topic) as held
from sluice.guard g join sluice.topic t using (topic);
comment on view sluice.guards is 'Sluice: topics that refuse, forget or bound, and how full they are.';
comment on column sluice.guards.deduplicate is 'For how long a message id is not taken again; null: ids are not looked at.';
comment on column sluice.guards.time_to_live is 'How long a message may be handed over, unless it says so itself; null: for ever.';
comment on column sluice.guards.max_depth is 'How many messages may wait.';
comment on column sluice.guards.depth is 'Messages that the slowest group has not done yet, as of the last time positions were written; without a group, all that are kept.';
comment on column sluice.guards.held is 'Messages of committed transactions that wait outside the log because it is full.';

comment on column sluice.dead_letters.reason is 'exhausted: its last attempt failed. schema: it does not fit the topic''s schema. expired: its time to live was over. rejected: the handler refused it.';
