-- breaking: no
-- Messages that come later, and messages that come by the clock.
--
-- A delayed message is a row with a due time. It has a table of its own and not the outbox: the relay looks for rows by
-- their transaction and should never meet a million that are not due before next year.
--
-- Two more duties, with the locks of every duty (1936487686 to have it, 1936487687 its fence): 3 moves what is due into the
-- log, 4 sends what schedules say. Both take the fence (shared), then rows, then, the mover only, what appending takes.

-- No foreign key to the topic, as in the outbox: its check would lock the topic's row on behalf of every sender.
create table sluice.delayed (
  delayed bigint generated always as identity,
  due timestamptz not null,
  topic integer not null,
  partition integer not null,
  key text,
  value text not null,
  attributes text,
  queued_at timestamptz not null default clock_timestamp(),
  constraint delayed_pkey primary key (delayed),
  constraint delayed_due_range check (due >= '1970-01-01 00:00:00+00' and due < '10000-01-01 00:00:00+00'),
  constraint delayed_key_size check (octet_length(key) <= 1024),
  constraint delayed_value_size check (octet_length(value) <= 1048576),
  constraint delayed_attributes_size check (octet_length(attributes) <= 32768),
  constraint delayed_attributes_form check (attributes like '{_%}')
);
create index delayed_due on sluice.delayed (due, delayed);
comment on table sluice.delayed is 'Messages that are not due yet. A row is here if and only if its message is neither in the log nor recalled. See the view sluice.delayed_messages.';
comment on column sluice.delayed.delayed is 'Its id is d-<this>.';
comment on column sluice.delayed.due is 'By the database''s clock; never earlier does the message enter the log.';
comment on index sluice.delayed_due is 'What is due next, and in which order.';

insert into sluice.duty (duty, name) values (3, 'delays'), (4, 'schedules');
comment on view sluice.leaders is 'Sluice: which process does what one does for all: relay moves the outbox into the log, retention drops old segments, delays moves what is due into the log, schedules sends by the clock.';

-- Milliseconds since 1970 as a time. By seconds and the rest, because a product with that many milliseconds is rounded in
-- the distant future.
create function sluice.time_of_ms(p_ms bigint) returns timestamptz language sql stable strict parallel safe
return timestamptz '1970-01-01 00:00:00+00' + (p_ms / 1000) * interval '1 second' + (p_ms % 1000) * interval '1 millisecond';
comment on function sluice.time_of_ms(bigint) is 'Internal: milliseconds since 1970 as a time.';

-- When a message is due that is to come at a time or after a delay. What is past is due at once.
-- Fails with 22023 when both are given, with 22008 when it is not a time before the year 10000.
create function sluice.due_time(p_at timestamptz, p_delay interval) returns timestamptz language plpgsql as $$
declare
  v_due timestamptz := coalesce(p_at, clock_timestamp() + p_delay);
begin
  if p_at is not null and p_delay is not null then
    raise exception 'sluice: deliver_at and delay exclude each other' using errcode = '22023';
  end if;
  if not isfinite(v_due) or v_due >= '10000-01-01 00:00:00+00' then
    raise exception 'sluice: a message must be due before the year 10000; nothing was sent' using errcode = '22008';
  end if;
  return greatest(v_due, '1970-01-01 00:00:00+00');
end $$;
comment on function sluice.due_time(timestamptz, interval) is 'Internal: when a delayed message is due.';

-- Wakes the mover, with the commit, for what is due before it looks by itself.
create function sluice.ring_for_due(p_due timestamptz) returns void language plpgsql as $$
begin
  if p_due < clock_timestamp() + interval '300 milliseconds' then
    perform pg_notify('sluice', 'delay');
  end if;
end $$;
comment on function sluice.ring_for_due(timestamptz) is 'Internal: wakes the mover of delayed messages for one that is due soon.';

-- Writes messages of one topic that are due at p_due_ms since 1970 or p_delay_ms from now, one of them null. The rest is as
-- in sluice.outbox_insert. Used by the producers; SQL uses sluice.send.
create function sluice.delayed_insert(p_topic integer, p_messages json, p_due_ms bigint, p_delay_ms bigint, p_ring boolean)
returns text language plpgsql as $$
declare
  v_due timestamptz := sluice.due_time(
    sluice.time_of_ms(p_due_ms), (p_delay_ms / 1000) * interval '1 second' + (p_delay_ms % 1000) * interval '1 millisecond');
  v_numbers text;
begin
  with inserted as (
    insert into sluice.delayed (due, topic, partition, key, value, attributes)
    select v_due, p_topic, (m.message ->> 'partition')::integer, m.message ->> 'key', (m.message -> 'value')::text,
      nullif((m.message -> 'attributes')::text, 'null')
    from json_array_elements(p_messages) with ordinality as m(message, number)
    order by m.number
    returning delayed)
  select string_agg(delayed::text, ',' order by delayed) into v_numbers from inserted;
  if p_ring then perform sluice.ring_for_due(v_due); end if;
  return v_numbers;
end $$;
comment on function sluice.delayed_insert(integer, json, bigint, bigint, boolean) is 'Internal: writes messages that come later.';

-- Sends one message from SQL: from psql, a trigger, any language. It enters the log when the transaction commits, moved by
-- a running worker; until one runs it waits in sluice.outbox, safe. The value is not checked against the topic's
-- schema, which only the code knows: what does not fit goes to the dead letters of each group.
--
-- With deliver_at or delay it enters the log then, not earlier by the database's clock, and can be recalled until then.
--
--   select sluice.send('signups', key => 'u1', value => '{"userId":"u1"}');
--   select sluice.send('reminders', value => '{"userId":"u1"}', delay => '3 days');
--
-- Returns the message's id. Fails when the topic does not exist (SQLSTATE 42704), the value, key or headers are too large, or
-- the due time is none (22008).
drop function sluice.send(text, json, text, json, integer);
create function sluice.send(topic text, value json, key text default null, headers json default null, partition integer default null,
  deliver_at timestamptz default null, delay interval default null)
returns text language plpgsql as $$
declare
  v_topic sluice.topic%rowtype;
  v_partition integer := send.partition;
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
  if v_partition is null then
    v_partition := coalesce(
      sluice.partition_of_key(send.key, v_topic.partitions), floor(random() * v_topic.partitions)::integer);
  elsif v_partition not between 0 and v_topic.partitions - 1 then
    raise exception 'sluice: topic % has partitions 0 to %, not %', quote_literal(send.topic), v_topic.partitions - 1, v_partition
      using errcode = '22023';
  end if;
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

-- Takes a delayed message back by its id. True: it is gone, and if this transaction commits it will never be delivered.
-- False: it is in the log or on its way there, was recalled before, or never was (in sight of this transaction).
-- Whoever has the row first wins: the mover passes over a row that is being recalled, and a recall waits for the mover.
-- Locks: the row.
create function sluice.recall(id text) returns boolean language plpgsql as $$
begin
  if recall.id is null or recall.id !~ '^d-[0-9]{1,18}$' then return false; end if;
  delete from sluice.delayed d where d.delayed = substr(recall.id, 3)::bigint;
  return found;
end $$;
comment on function sluice.recall(text) is 'Takes a delayed message back: select sluice.recall(''d-17''). Whether it will never be delivered.';

-- Moves what is due from sluice.delayed into the log, in the order of due times: deleting and appending in one transaction,
-- so a message is in one of the two, always. The clock is read before anything is picked, so what is appended was due.
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
-- Locks: the duty's fence, shared; rows; then appending, by topic and partition ascending.
create function sluice.move_delayed(p_epoch bigint, p_floor timestamptz, p_limit integer, p_bytes bigint)
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
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes
    from batch b group by b.topic order by b.topic
  loop
    execute format('select sluice_log.append_%s($1, $2, $3, $4, $5, null, 0, false, $6, null)', v_topic.topic)
      using v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes, current_setting('synchronous_commit');
    moved := moved + v_topic.moved;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  select d.due into v_next from sluice.delayed d where d.due >= v_floor order by d.due, d.delayed limit 1;
  floor := least(v_next, v_now - interval '2 seconds');
  wait_ms := extract(epoch from v_next - clock_timestamp()) * 1000;
  return next;
end $$;
comment on function sluice.move_delayed is 'Internal: moves what is due into the log.';

create view sluice.delayed_messages as
select t.name as topic, d.partition, d.key, d.value::json as value, coalesce((d.attributes::json) -> 'headers', '{}') as headers,
  d.due, 'd-' || d.delayed as id, d.queued_at
from sluice.delayed d
join sluice.topic t using (topic);
comment on view sluice.delayed_messages is 'Sluice: messages that are not due yet; sluice.recall(id) takes one back.';
comment on column sluice.delayed_messages.value is 'As it will stand in the log: JSON, or base64 text where the topic holds bytes.';
comment on column sluice.delayed_messages.due is 'Not earlier by the database''s clock does it enter the log, and little later while an app runs.';
comment on column sluice.delayed_messages.id is 'What sluice.recall takes, and the message''s id for ever.';
comment on column sluice.delayed_messages.queued_at is 'When it was sent.';

create table sluice.schedule (
  schedule integer generated always as identity,
  name text not null,
  topic integer not null,
  cron text,
  every_ms bigint,
  time_zone text not null,
  key text,
  value text not null,
  headers text not null,
  missed text not null,
  paused boolean not null default false,
  next_at timestamptz,
  last_at timestamptz,
  last_tick timestamptz,
  last_id text,
  revision bigint not null default 0,
  declared_by text not null,
  declared_at timestamptz not null default clock_timestamp(),
  constraint schedule_pkey primary key (schedule),
  constraint schedule_name_unique unique (name),
  constraint schedule_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint schedule_name_length check (length(name) between 1 and 120),
  constraint schedule_cadence check ((cron is null) <> (every_ms is null)),
  constraint schedule_cron_length check (length(cron) between 1 and 200),
  constraint schedule_every_range check (every_ms between 1000 and 31622400000),
  constraint schedule_time_zone_length check (length(time_zone) between 1 and 100),
  constraint schedule_key_size check (octet_length(key) <= 1024),
  constraint schedule_value_size check (octet_length(value) <= 1048576),
  constraint schedule_headers_size check (octet_length(headers) <= 16384),
  constraint schedule_missed_known check (missed in ('skip', 'once', 'all')),
  constraint schedule_declared_by_length check (length(declared_by) between 1 and 200)
);
comment on table sluice.schedule is 'What is sent by the clock. See the view sluice.schedules.';
comment on column sluice.schedule.next_at is 'The next tick; null: the duty that sends computes it from now.';
comment on column sluice.schedule.revision is 'Counts the changes. Who computed from an older row changes nothing.';

-- Keeps a schedule as an app declares it; one that is there already and the same is left alone. p_next_ms is its next tick,
-- used when it is new or its clock has changed: ticks that were missed while nobody ran stay missed otherwise.
-- Locks: the row.
create function sluice.declare_schedule(p_name text, p_topic integer, p_cron text, p_every_ms bigint, p_time_zone text, p_key text,
  p_value text, p_headers text, p_missed text, p_next_ms bigint, p_declared_by text) returns void language plpgsql as $$
begin
  insert into sluice.schedule as s (name, topic, cron, every_ms, time_zone, key, value, headers, missed, next_at, declared_by)
  values (p_name, p_topic, p_cron, p_every_ms, p_time_zone, p_key, p_value, p_headers, p_missed, sluice.time_of_ms(p_next_ms), p_declared_by)
  on conflict (name) do update set
    topic = excluded.topic, cron = excluded.cron, every_ms = excluded.every_ms, time_zone = excluded.time_zone, key = excluded.key,
    value = excluded.value, headers = excluded.headers, missed = excluded.missed,
    next_at = case when (s.cron, s.every_ms, s.time_zone) is distinct from (excluded.cron, excluded.every_ms, excluded.time_zone)
      then excluded.next_at else s.next_at end,
    revision = s.revision + 1, declared_by = excluded.declared_by, declared_at = clock_timestamp()
  where (s.topic, s.cron, s.every_ms, s.time_zone, s.key, s.value, s.headers, s.missed) is distinct from
    (excluded.topic, excluded.cron, excluded.every_ms, excluded.time_zone, excluded.key, excluded.value, excluded.headers, excluded.missed);
  if found then perform pg_notify('sluice', 'schedule'); end if;
end $$;
comment on function sluice.declare_schedule is 'Internal: keeps a schedule as an app declares it.';

-- The row of a schedule, locked. Fails with 42704 when there is none of that name.
-- Locks: the row.
create function sluice.find_schedule(p_name text) returns sluice.schedule language plpgsql as $$
declare
  v_schedule sluice.schedule%rowtype;
begin
  select * into v_schedule from sluice.schedule s where s.name = p_name for update;
  if not found then
    raise exception 'sluice: there is no schedule %', quote_literal(p_name)
      using errcode = '42704', hint = 'select name from sluice.schedules;';
  end if;
  return v_schedule;
end $$;
comment on function sluice.find_schedule(text) is 'Internal: a schedule by its name.';

-- Sends a schedule's message for a tick, through the outbox, and notes that it did. Returns its id.
-- Locks: none; the caller has the row.
create function sluice.send_scheduled(p_schedule sluice.schedule, p_tick timestamptz) returns text language plpgsql as $$
declare
  v_partitions integer := (select t.partitions from sluice.topic t where t.topic = p_schedule.topic);
  v_headers jsonb := p_schedule.headers::jsonb || jsonb_build_object('sluice-schedule', p_schedule.name,
    'sluice-tick', to_char(p_tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  v_id text;
begin
  insert into sluice.outbox (topic, partition, key, value, attributes)
  values (p_schedule.topic,
    coalesce(sluice.partition_of_key(p_schedule.key, v_partitions), floor(random() * v_partitions)::integer),
    p_schedule.key, p_schedule.value, jsonb_build_object('headers', v_headers)::text)
  returning 'o-' || outbox into v_id;
  update sluice.schedule s set last_at = clock_timestamp(), last_tick = p_tick, last_id = v_id where s.schedule = p_schedule.schedule;
  perform pg_notify('sluice', 'outbox');
  return v_id;
end $$;
comment on function sluice.send_scheduled(sluice.schedule, timestamptz) is 'Internal: sends a schedule''s message for a tick.';

-- Sends a schedule's message once for each of these ticks and moves on to the next one, in one transaction: a tick that was
-- sent is over. Nothing happens, and the answer is false, when the schedule has changed since p_revision was read.
-- Locks: the duty's fence, shared; the row.
create function sluice.fire_schedule(p_epoch bigint, p_schedule integer, p_revision bigint, p_ticks_ms bigint[], p_next_ms bigint)
returns boolean language plpgsql as $$
declare
  v_schedule sluice.schedule%rowtype;
  v_tick_ms bigint;
begin
  perform sluice.assert_duty(4, p_epoch);
  select * into v_schedule from sluice.schedule s
  where s.schedule = p_schedule and s.revision = p_revision and not s.paused for update;
  if not found then return false; end if;
  foreach v_tick_ms in array p_ticks_ms loop
    if sluice.time_of_ms(v_tick_ms) > clock_timestamp() then
      raise exception 'sluice: a tick of schedule % has not come yet', quote_literal(v_schedule.name) using errcode = '22023';
    end if;
    perform sluice.send_scheduled(v_schedule, sluice.time_of_ms(v_tick_ms));
  end loop;
  update sluice.schedule s set next_at = sluice.time_of_ms(p_next_ms), revision = s.revision + 1 where s.schedule = p_schedule;
  return true;
end $$;
comment on function sluice.fire_schedule is 'Internal: sends what a schedule says and moves it on.';

-- Stops a schedule until it is resumed. Ticks that pass meanwhile are not made up for.
-- Locks: the row.
create function sluice.pause_schedule(name text) returns void language plpgsql as $$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(pause_schedule.name);
begin
  update sluice.schedule s set paused = true, revision = s.revision + 1 where s.schedule = v_schedule.schedule;
end $$;
comment on function sluice.pause_schedule(text) is 'Stops a schedule until sluice.resume_schedule(name).';

-- Lets a schedule go on that was paused, from its next tick.
-- Locks: the row.
create function sluice.resume_schedule(name text) returns void language plpgsql as $$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(resume_schedule.name);
begin
  update sluice.schedule s set paused = false, next_at = null, revision = s.revision + 1
  where s.schedule = v_schedule.schedule and s.paused;
  if found then perform pg_notify('sluice', 'schedule'); end if;
end $$;
comment on function sluice.resume_schedule(text) is 'Lets a paused schedule go on from its next tick.';

-- Removes a schedule. An app that still declares it makes it again when it starts.
-- Locks: the row.
create function sluice.remove_schedule(name text) returns void language plpgsql as $$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(remove_schedule.name);
begin
  delete from sluice.schedule s where s.schedule = v_schedule.schedule;
end $$;
comment on function sluice.remove_schedule(text) is 'Removes a schedule for good, unless an app that still declares it starts.';

-- Sends a schedule's message now, within this transaction, also while it is paused; its next tick stays. Returns the id.
-- Locks: the row.
create function sluice.run_schedule(name text) returns text language plpgsql as $$
declare
  v_schedule sluice.schedule%rowtype := sluice.find_schedule(run_schedule.name);
begin
  return sluice.send_scheduled(v_schedule, clock_timestamp());
end $$;
comment on function sluice.run_schedule(text) is 'Sends a schedule''s message now.';

create view sluice.schedules as
select s.name, t.name as topic, s.cron, s.every_ms * interval '1 millisecond' as every, s.time_zone, s.key, s.value::json as value,
  s.headers::json as headers, s.missed, s.paused, case when not s.paused then s.next_at end as next_run, s.last_at as last_run,
  s.last_tick, s.last_id, s.declared_by, s.declared_at
from sluice.schedule s
join sluice.topic t using (topic);
comment on view sluice.schedules is 'Sluice: what is sent by the clock, when it runs next and when it ran last.';
comment on column sluice.schedules.every is 'The span between ticks, counted from 1970 in UTC; null where there is a cron.';
comment on column sluice.schedules.missed is 'What becomes of ticks that passed while nobody ran: skip, once for all of them, or all of them.';
comment on column sluice.schedules.next_run is 'The next tick; null while it is paused.';
comment on column sluice.schedules.last_run is 'When it sent last.';
comment on column sluice.schedules.last_tick is 'For which tick it sent last.';
comment on column sluice.schedules.last_id is 'The id of the message that it sent last.';
comment on column sluice.schedules.declared_by is 'The app whose declaration it is.';
