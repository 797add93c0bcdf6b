-- breaking: no
-- Priorities. A log cannot be reordered, so a partition of a topic that has n priorities is n lanes, and each lane is a partition of
-- the log: with P partitions and n priorities there are P * n of them, and partition p at priority k is number k * P + p. So everything
-- that the log promises of a partition holds for a lane, what stands in the log stays where it is when a topic gets more
-- priorities, and P, by which keys find their partition, never changes. Who consumes looks after the order of the lanes.

alter table sluice.topic add column priorities integer not null default 1;
alter table sluice.topic add constraint topic_priorities_range check (priorities between 1 and 10);
alter table sluice.topic add constraint topic_lanes_whole check (partitions % priorities = 0);
comment on column sluice.topic.partitions is 'Partitions of the log: those that keys are spread over, times the priorities.';
comment on column sluice.topic.priorities is 'How many priorities its messages have, from 0, the least urgent; 1: none.';

alter table sluice.schedule add column priority integer not null default 0;
alter table sluice.schedule add constraint schedule_priority_range check (priority between 0 and 9);
comment on column sluice.schedule.priority is 'Of the messages that it sends.';

-- The partition of the log for a message: where its key belongs, at its priority. Null for a key, a partition or a priority: none was
-- given. Fails with SQLSTATE 22023 when the topic has no such partition or priority.
-- Locks: none.
create function sluice.lane_of(p_topic sluice.topic, p_key text, p_partition integer, p_priority integer) returns integer
language plpgsql volatile as $$
declare
  v_partitions integer := p_topic.partitions / p_topic.priorities;
  v_priority integer := coalesce(p_priority, 0);
begin
  if v_priority not between 0 and p_topic.priorities - 1 then
    raise exception 'sluice: topic % has priorities 0 to %, not %', quote_literal(p_topic.name), p_topic.priorities - 1, v_priority
      using errcode = '22023', hint = 'Give it more: select sluice.raise_priorities(''name'', priorities);';
  end if;
  if p_partition is null then
    return v_priority * v_partitions
      + coalesce(sluice.partition_of_key(p_key, v_partitions), floor(random() * v_partitions)::integer);
  end if;
  if p_partition not between 0 and v_partitions - 1 then
    raise exception 'sluice: topic % has partitions 0 to %, not %', quote_literal(p_topic.name), v_partitions - 1, p_partition
      using errcode = '22023';
  end if;
  return v_priority * v_partitions + p_partition;
end $$;
comment on function sluice.lane_of(sluice.topic, text, integer, integer) is 'Internal: the partition of the log for a message of a priority.';

-- Gives a topic more priorities than it has; as many as it has or fewer change nothing. Returns how many it has now. Groups that have
-- positions in the topic get some in the new lanes, from their beginning, so that they miss nothing.
--
-- Fails with SQLSTATE 55006 while an app consumes the topic: it would not look into lanes that it does not know, and consumers in
-- mode "ordered" cannot keep their promise over several. Also with 55006 when a process was killed within its lease, until
-- that is over. Producers that are open go on, with the priorities that they know.
-- Locks: the topic's shape; rows of sluice.position that are new.
create function sluice.raise_priorities(topic text, priorities integer) returns integer language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_partitions integer;
  v_consumers text;
begin
  if raise_priorities.priorities is null or raise_priorities.priorities not between 1 and 10 then
    raise exception 'sluice: a topic has 1 to 10 priorities, not %', coalesce(raise_priorities.priorities::text, 'null')
      using errcode = '22023';
  end if;
  select * into v_topic from sluice.topic t where t.name = raise_priorities.topic;
  if not found then
    raise exception 'sluice: there is no topic %', quote_literal(raise_priorities.topic) using errcode = '42704';
  end if;
  perform pg_advisory_xact_lock(1936487681, v_topic.topic);
  select * into v_topic from sluice.topic t where t.topic = v_topic.topic;
  if raise_priorities.priorities <= v_topic.priorities then return v_topic.priorities; end if;
  v_partitions := v_topic.partitions / v_topic.priorities * raise_priorities.priorities;
  if v_partitions > 1024 then
    raise exception 'sluice: topic % would have % partitions, and 1024 is the most: % times % priorities',
      quote_literal(v_topic.name), v_partitions, v_topic.partitions / v_topic.priorities, raise_priorities.priorities
      using errcode = '22023';
  end if;
  select string_agg(distinct format('%s (group %s)', m.name, g.name), ', ') into v_consumers
  from sluice.subscription s join sluice.member m using (member) join sluice.consumer_group g using ("group")
  where s.topic = v_topic.topic and (m.lease_until > clock_timestamp() or m.member in (select sluice.live_members()));
  if v_consumers is not null then
    raise exception 'sluice: topic % has % priorities and cannot get % while it is consumed, by %', quote_literal(v_topic.name),
      v_topic.priorities, raise_priorities.priorities, v_consumers
      using errcode = '55006', hint = 'Stop the apps that consume it, then raise the priorities, then start them.';
  end if;
  -- Who means an older segment knows nothing of the new lanes, so they begin in the newest.
  insert into sluice.segment_start (topic, segment, partition, start_offset)
  select v_topic.topic, (select max(s.segment) from sluice.segment s where s.topic = v_topic.topic), n.partition, 0
  from generate_series(v_topic.partitions, v_partitions - 1) n(partition);
  insert into sluice.position ("group", topic, partition, next_offset)
  select distinct p."group", p.topic, n.partition, 0
  from sluice.position p cross join generate_series(v_topic.partitions, v_partitions - 1) n(partition)
  where p.topic = v_topic.topic order by n.partition
  on conflict on constraint position_unique do nothing;
  update sluice.topic t set partitions = v_partitions, priorities = raise_priorities.priorities where t.topic = v_topic.topic;
  return raise_priorities.priorities;
end $$;
comment on function sluice.raise_priorities(text, integer) is 'Gives a topic more priorities: select sluice.raise_priorities(''jobs'', 3).';

-- Of positions of one topic, most urgent first, the first p_most of which something can be leased. A hint, for sluice.lease_ranges, which
-- takes its locks in an order of its own and looks again. One dynamic statement for all of them: it is planned at every call.
-- Locks: none.
create function sluice.ready_positions(p_positions integer[], p_most integer) returns setof integer language plpgsql stable as $$
declare
  v_topic integer := (select p.topic from sluice.position p where p.position = p_positions[1]);
  v_segment integer := (select max(s.segment) from sluice.segment s where s.topic = v_topic);
begin
  if v_segment is null then return; end if;
  -- Where the log ends, as in sluice.end_offset, against what is leased, as in sluice.lease_ranges.
  return query execute format($sql$
    select p.position from unnest($1) with ordinality a(position, number) join sluice.position p using (position)
    where coalesce(
      (select b.base_offset + b.count from sluice_log.topic_%1$s_segment_%2$s b
        where b.partition = p.partition order by b.base_offset desc limit 1),
      (select s.start_offset from sluice.segment_start s
        where s.topic = %1$s and s.segment = %2$s and s.partition = p.partition))
      > greatest(p.next_offset, upper(p.done_above), (
        select max(l.to_offset) from sluice.lease l
        where l.position = p.position and l.to_offset > greatest(p.next_offset, upper(p.done_above))))
    order by a.number limit $2$sql$, v_topic, v_segment)
  using p_positions, p_most;
end $$;
comment on function sluice.ready_positions(integer[], integer) is 'Internal: the most urgent positions that have something to lease.';

-- Sending ------------------------------------------------------------------------------------------------------------

-- Sends one message from SQL: from psql, a trigger, any language. It enters the log when the transaction commits, moved by
-- a running worker; until one runs it waits in sluice.outbox, safe. The value is not checked against the topic's
-- schema, which only the code knows: what does not fit goes to the dead letters of each group.
--
-- Among messages that wait, those of a higher priority come first, where the topic has priorities.
--
-- With deliver_at or delay it enters the log then, not earlier by the database's clock, and can be recalled until then.
--
--   select sluice.send('signups', key => 'u1', value => '{"userId":"u1"}');
--   select sluice.send('reminders', value => '{"userId":"u1"}', delay => '3 days');
--
-- Returns the message's id. Fails when the topic does not exist (SQLSTATE 42704), the value, key or headers are too large, the
-- due time is none (22008), or the topic has no such partition or priority (22023).
drop function sluice.send(text, json, text, json, integer, timestamptz, interval);
create function sluice.send(topic text, value json, key text default null, headers json default null, partition integer default null,
  deliver_at timestamptz default null, delay interval default null, priority integer default 0)
returns text language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer;
  v_attributes text;
  v_name text;
  v_header text;
  v_due timestamptz;
  v_id text;
begin
  select * into v_topic from sluice.topic t where t.name = send.topic;
  if not found then
    raise exception 'sluice: there is no topic %', quote_literal(send.topic)
      using errcode = '42704', hint = 'select name from sluice.topics; or create it: select sluice.create_topic(''name'', partitions);';
  end if;
  if send.value is null then
    raise exception 'sluice: the value of a message must not be SQL null' using errcode = '22004', hint = 'Send the JSON null: ''null''.';
  end if;
  if v_topic.encoding = 'bytes' and json_typeof(send.value) <> 'string' then
    raise exception 'sluice: topic % holds bytes: the value must be a JSON string of base64', quote_literal(send.topic) using errcode = '22023';
  end if;
  -- A text that Postgres cannot show would make the topic's view fail for whoever reads past it.
  perform send.value::jsonb;
  if send.headers is not null then
    if json_typeof(send.headers) <> 'object' then
      raise exception 'sluice: headers must be a JSON object of strings' using errcode = '22023';
    end if;
    for v_name, v_header in select h.key, json_typeof(h.value) from json_each(send.headers) h loop
      if v_header <> 'string' then
        raise exception 'sluice: header % must be a string', quote_literal(v_name) using errcode = '22023';
      end if;
    end loop;
    v_attributes := json_build_object('headers', send.headers)::text;
  end if;
  v_partition := sluice.lane_of(v_topic, send.key, send.partition, send.priority);
  if send.deliver_at is null and send.delay is null then
    insert into sluice.outbox (topic, partition, key, value, attributes)
    values (v_topic.topic, v_partition, send.key, send.value::text, v_attributes)
    returning 'o-' || outbox into v_id;
    perform pg_notify('sluice', 'outbox');
  else
    v_due := sluice.due_time(send.deliver_at, send.delay);
    insert into sluice.delayed (due, topic, partition, key, value, attributes)
    values (v_due, v_topic.topic, v_partition, send.key, send.value::text, v_attributes)
    returning 'd-' || delayed into v_id;
    perform sluice.ring_for_due(v_due);
  end if;
  return v_id;
end $$;
comment on function sluice.send is 'Sends one message within your transaction: select sluice.send(''topic'', key => ''k'', value => ''{"a":1}''). Later with deliver_at => a time or delay => an interval.';

-- Keeps a schedule as an app declares it; one that is there already and the same is left alone. p_next_ms is its next tick,
-- used when it is new or its clock has changed: ticks that were missed while nobody ran stay missed otherwise.
-- Locks: the row.
drop function sluice.declare_schedule(text, integer, text, bigint, text, text, text, text, text, bigint, text);
create function sluice.declare_schedule(p_name text, p_topic integer, p_cron text, p_every_ms bigint, p_time_zone text, p_key text,
  p_value text, p_headers text, p_missed text, p_next_ms bigint, p_declared_by text, p_priority integer default 0) returns void language plpgsql as $$
begin
  insert into sluice.schedule as s (name, topic, cron, every_ms, time_zone, key, value, headers, missed, next_at, declared_by, priority)
  values (p_name, p_topic, p_cron, p_every_ms, p_time_zone, p_key, p_value, p_headers, p_missed, sluice.time_of_ms(p_next_ms), p_declared_by, p_priority)
  on conflict (name) do update set
    topic = excluded.topic, cron = excluded.cron, every_ms = excluded.every_ms, time_zone = excluded.time_zone, key = excluded.key,
    value = excluded.value, headers = excluded.headers, missed = excluded.missed, priority = excluded.priority,
    next_at = case when (s.cron, s.every_ms, s.time_zone) is distinct from (excluded.cron, excluded.every_ms, excluded.time_zone)
      then excluded.next_at else s.next_at end,
    revision = s.revision + 1, declared_by = excluded.declared_by, declared_at = clock_timestamp()
  where (s.topic, s.cron, s.every_ms, s.time_zone, s.key, s.value, s.headers, s.missed, s.priority) is distinct from
    (excluded.topic, excluded.cron, excluded.every_ms, excluded.time_zone, excluded.key, excluded.value, excluded.headers, excluded.missed, excluded.priority);
  if found then perform pg_notify('sluice', 'schedule'); end if;
end $$;
comment on function sluice.declare_schedule is 'Internal: keeps a schedule as an app declares it.';

-- Sends a schedule's message for a tick, through the outbox, and notes that it did. Returns its id.
-- Locks: none; the caller has the row.
create or replace function sluice.send_scheduled(p_schedule sluice.schedule, p_tick timestamptz) returns text language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_headers jsonb := p_schedule.headers::jsonb || jsonb_build_object('sluice-schedule', p_schedule.name,
    'sluice-tick', to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  v_id text;
begin
  select * into strict v_topic from sluice.topic t where t.topic = p_schedule.topic;
  insert into sluice.outbox (topic, partition, key, value, attributes)
  values (p_schedule.topic,
    sluice.lane_of(v_topic, p_schedule.key, null, p_schedule.priority),
    p_schedule.key, p_schedule.value, jsonb_build_object('headers', v_headers)::text)
  returning 'o-' || outbox into v_id;
  update sluice.schedule s set last_at = clock_timestamp(), last_tick = p_tick, last_id = v_id where s.schedule = p_schedule.schedule;
  perform pg_notify('sluice', 'outbox');
  return v_id;
end $$;
comment on function sluice.send_scheduled(sluice.schedule, timestamptz) is 'Internal: sends a schedule''s message for a tick.';

-- Prepares one message from SQL: nobody sees it before sluice.commit_half. When neither that nor sluice.rollback_half comes within
-- the timeout, apps that know the check-back ask it.
--
--   select sluice.prepare('orders', '{"order":1}', check_back => 'orders');
--
-- Returns its number. Fails when the topic does not exist (SQLSTATE 42704) or the value, key or headers are not such as
-- sluice.send takes.
drop function sluice.prepare(text, json, text, text, json, integer, interval, integer, text);
create function sluice.prepare(
  topic text, value json, check_back text, key text default null, headers json default null, partition integer default null,
  timeout interval default '1 minute', max_checks integer default 15, on_undecided text default 'keep',
  priority integer default 0
) returns bigint language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer;
begin
  select * into v_topic from sluice.topic t where t.name = prepare.topic;
  if not found then
    raise exception 'sluice: there is no topic %', quote_literal(prepare.topic) using errcode = '42704';
  end if;
  if prepare.value is null or prepare.check_back is null then
    raise exception 'sluice: a half message needs a value and a check-back' using errcode = '22004';
  end if;
  if v_topic.encoding = 'bytes' and json_typeof(prepare.value) <> 'string' then
    raise exception 'sluice: topic % holds bytes: the value must be a JSON string of base64', quote_literal(prepare.topic) using errcode = '22023';
  end if;
  -- A text that Postgres cannot show would make the topic's view fail for whoever reads past it.
  perform prepare.value::jsonb;
  if prepare.headers is not null and (json_typeof(prepare.headers) <> 'object'
    or exists (select from json_each(prepare.headers) h where json_typeof(h.value) <> 'string')) then
    raise exception 'sluice: headers must be a JSON object of strings' using errcode = '22023';
  end if;
  v_partition := sluice.lane_of(v_topic, prepare.key, prepare.partition, prepare.priority);
  return sluice.prepare_half(v_topic.topic, v_partition, prepare.key, prepare.value::text,
    case when prepare.headers is not null then json_build_object('headers', prepare.headers)::text end,
    prepare.check_back, (extract(epoch from prepare.timeout) * 1000)::bigint, prepare.max_checks, prepare.on_undecided);
end $$;
comment on function sluice.prepare is 'Prepares one message, to be committed or rolled back later: select sluice.prepare(''topic'', ''{"a":1}'', check_back => ''orders'').';

-- Views --------------------------------------------------------------------------------------------------------------

-- The view of a topic: its messages one by one. `timestamp` is the sender's where it gave one; `id` names a message for ever.
create or replace function sluice.create_topic_view(p_topic integer) returns void language plpgsql as $$
declare
  v_name text; v_encoding text; v_partitions integer;
begin
  select name, encoding, partitions / priorities into v_name, v_encoding, v_partitions from sluice.topic where topic = p_topic;
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
      batch.appended_at,
      batch.partition / %4$s as priority
    from sluice_log.topic_%2$s batch
    cross join lateral rows from (
      json_array_elements(batch.records::json),
      json_array_elements_text(batch.keys::json),
      json_array_elements(batch.attributes::json)
    ) with ordinality as record(value, key, attributes, number)$ddl$,
    v_name, p_topic,
    case v_encoding when 'bytes' then $sql$decode(record.value #>> '{}', 'base64')$sql$ else 'record.value' end, v_partitions);
  execute format('comment on view topics.%I is %L', v_name,
    format('Sluice: the messages of topic %s, one row each.', v_name));
  execute format('comment on column topics.%I."offset" is %L', v_name, 'Position within the partition, from 0, without gaps; never reused.');
  execute format('comment on column topics.%I.key is %L', v_name, 'What is kept in order and what picked the partition; null when the sender gave none.');
  execute format('comment on column topics.%I.value is %L', v_name,
    case v_encoding when 'bytes' then 'The message''s bytes.' else 'The message, as JSON: value->>''email''.' end);
  execute format('comment on column topics.%I.priority is %L', v_name, 'Which messages come first, from 0, the least urgent. It follows from the partition.');
  execute format('comment on column topics.%I.id is %L', v_name, 'Unique for ever, and known to the sender.');
end $$;
comment on function sluice.create_topic_view(integer) is 'Internal: makes the view topics.<name>.';

do $$
declare
  v_topic integer;
begin
  for v_topic in select t.topic from sluice.topic t order by t.topic loop
    perform sluice.create_topic_view(v_topic);
  end loop;
end $$;

create or replace view sluice.topics as
select t.name, t.topic as number, t.partitions, t.encoding, t.compression,
  make_interval(secs => t.retention_ms / 1000.0) as retention_time, t.retention_bytes,
  (select count(*) from sluice.segment s where s.topic = t.topic) as segments,
  (select sum(pg_total_relation_size(format('sluice_log.topic_%s_segment_%s', s.topic, s.segment)::regclass))
    from sluice.segment s where s.topic = t.topic)::bigint as size_bytes,
  t.created_at, t.priorities
from sluice.topic t;
comment on column sluice.topics.partitions is 'Partitions of the log: those that keys are spread over, times the priorities.';
comment on column sluice.topics.priorities is 'How many priorities its messages have; 1: none.';

create or replace view sluice.partitions as
select t.name as topic, p.partition, sluice.start_offset(t.topic, p.partition) as start_offset,
  e.end_offset, e.end_offset as high_watermark,
  e.end_offset - sluice.start_offset(t.topic, p.partition) as messages,
  p.partition / (t.partitions / t.priorities) as priority
from sluice.topic t
cross join lateral generate_series(0, t.partitions - 1) as p(partition)
cross join lateral (select sluice.end_offset(t.topic, p.partition) as end_offset) e;
comment on column sluice.partitions.priority is 'Of its messages; those of a higher one come first.';

create or replace view sluice.lag as
select g.name as "group", t.name as topic, p.partition,
  p.next_offset as committed_offset, e.end_offset,
  e.end_offset - p.next_offset - coalesce((select sum(upper(r) - lower(r)) from unnest(p.done_above) r), 0)::bigint as lag,
  case when p.next_offset < e.end_offset
    then clock_timestamp() - sluice.appended_at(t.topic, p.partition, p.next_offset) end as oldest_age,
  m.name as owner, p.epoch, p.committed_at,
  s.paused_at as paused_since, s.paused_by, s.reason as paused_reason,
  p.partition / (t.partitions / t.priorities) as priority
from sluice.position p
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.member m on m.member = p.owner
cross join lateral (select sluice.end_offset(p.topic, p.partition) as end_offset) e
left join lateral (
  select * from sluice.pause o
  where o."group" = p."group" and (o.topic is null or o.topic = p.topic) and (o.partition is null or o.partition = p.partition)
  order by o.paused_at limit 1) s on true;
comment on column sluice.lag.priority is 'Of its messages; those of a higher one come first.';
