-- breaking: no
-- What the relay does at once is bounded in bytes, not in messages alone: 2,000 messages of 1 MiB were put together to one text, which Postgres
-- refuses above 1 GB, at each look anew, so that nothing left the outbox any more; and below that they were one batch, which readers take whole.
-- It goes through all topics once, ascending: it let in what was held before everything else, so it had the lock of a later topic when
-- it asked for an earlier one's, and the mover of delayed messages and stages, which go ascending, met it in a deadlock.
-- What waits in a topic is found in each partition from its own first segment on: lanes that were raised after a roll are in none of the older
-- ones, so nothing of them was dropped however full the topic was. And a position does not go anywhere unless somebody says where: without a
-- place it went to the end, past all that was waiting.

-- Lets held messages of one topic into the log, oldest first, as far as there is room: deleting and appending in one transaction. At most
-- p_limit of them, and the one that reaches p_bytes is the last. Gives the doorbell, if some came in: 'topic partition …'. The caller has the
-- relay's duty.
-- Locks: as sluice.append_guarded.
create function sluice.let_held_in(p_topic integer, p_limit integer, p_bytes bigint) returns setof text language plpgsql as $$
declare
  v_message record;
  v_last bigint;
  v_bytes bigint := 0;
  v_held bigint[];
  v_messages json;
  v_answers text[];
begin
  -- How large a message is, is known when it has been read, so they are read until there are enough and not all of them.
  for v_message in
    select h.held, octet_length(h.message::text) as bytes from sluice.held h where h.topic = p_topic order by h.held limit p_limit
  loop
    v_last := v_message.held;
    v_bytes := v_bytes + v_message.bytes;
    exit when v_bytes >= p_bytes;
  end loop;
  if v_last is null then return; end if;
  select array_agg(h.held order by h.held), json_agg(h.message order by h.held) into v_held, v_messages
  from sluice.held h where h.topic = p_topic and h.held <= v_last;
  v_answers := sluice.append_alone(p_topic, v_messages);
  delete from sluice.held h using unnest(v_held, v_answers) e(held, answer)
  where h.topic = p_topic and h.held = e.held and e.answer not like 'f:%';
  return query
    select p_topic || ' ' || string_agg(distinct split_part(e.answer, ':', 2), ' ')
    from unnest(v_answers) e(answer) where e.answer like 'a:%' having count(*) > 0;
end $$;
comment on function sluice.let_held_in(integer, integer, bigint) is 'Internal: lets messages in that wait because their topic was full.';

-- Moves messages of committed transactions from the outbox into the log, in the order of their transactions: deleting
-- and appending in one transaction, so a message is in one of the two, always. (Third version: a look is bounded in bytes, too, and
-- what was held is let in when its topic's turn comes.)
--
-- p_since is the snapshot of the last look, null for the first look of a term: the rows to look at are those of
-- transactions that began since, and of those that were under way then. A transaction held open for an hour costs
-- nothing, and rows that were deleted but cannot be vacuumed yet are not walked over again.
--
-- A look takes p_limit messages at most, and the one that reaches 8 MiB is its last, as with what is delayed. What of them goes to one
-- partition is one batch.
--
-- Returns how many were moved, which partitions of which topics got some (for the doorbell: 'topic partition …'), and the
-- snapshot for the next look: p_since again when a bound cut this look short. That some were moved under a snapshot that stays tells just this:
-- what is moved was not visible in p_since.
--
-- Locks: the duty's fence, shared; outbox rows; then, by topic ascending, the topic's if it has a guard, and those of appending by partition
-- ascending.
create or replace function sluice.relay(p_epoch bigint, p_since pg_snapshot, p_limit integer)
returns table (moved integer, rings text[], snapshot pg_snapshot) language plpgsql
-- The table is nearly always empty but may be bloated: never read it from end to end.
set enable_seqscan = off
as $$
declare
  v_look_bytes constant bigint := 8 * 1048576;
  v_now pg_snapshot;
  v_begun xid8 := coalesce(pg_snapshot_xmax(p_since), '0'::xid8);
  v_bytes bigint := 0;
  v_topic record;
begin
  perform sluice.assert_duty(1, p_epoch);
  v_now := pg_current_snapshot();
  moved := 0;
  rings := '{}';
  for v_topic in
    with picked as materialized (
      select s.xid, s.outbox, s.bytes
      from (
        -- (The size of a value is known without reading it.)
        select c.*, sum(c.bytes) over (order by c.xid, c.outbox rows unbounded preceding) - c.bytes as before
        from (
          select o.xid, o.outbox, octet_length(o.value) + coalesce(octet_length(o.attributes), 0) as bytes
          from sluice.outbox o
          where o.xid = any (array(select pg_snapshot_xip(p_since))) and pg_visible_in_snapshot(o.xid, v_now)
          union all
          (select o.xid, o.outbox, octet_length(o.value) + coalesce(octet_length(o.attributes), 0)
          from sluice.outbox o
          where o.xid >= v_begun and o.xid < pg_snapshot_xmax(v_now) and pg_visible_in_snapshot(o.xid, v_now)
          order by o.xid, o.outbox limit p_limit)
          order by xid, outbox limit p_limit
        ) c
      ) s where s.before < v_look_bytes),
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
      (select sum(p.bytes) from picked p) as bytes,
      array_agg(b.partition order by b.partition) as partitions,
      array_agg(b.count order by b.partition) as counts,
      string_agg(coalesce(b.keys, '[]'), repeat(E'\x1e', 32) order by b.partition) as keys,
      string_agg(b.records, repeat(E'\x1e', 32) order by b.partition) as records,
      string_agg(b.attributes, repeat(E'\x1e', 32) order by b.partition) as attributes
    from batch b group by b.topic
    union all
    -- What was held comes before what is new.
    select t.topic, 0, 0, null, null, null, null, null
    from sluice.guard t where exists (select from sluice.held h where h.topic = t.topic)
    order by topic, moved
  loop
    if v_topic.moved = 0 then
      rings := rings || array(select r.ring from sluice.let_held_in(v_topic.topic, p_limit, v_look_bytes) r(ring));
      continue;
    end if;
    perform sluice.let_in(v_topic.topic, v_topic.partitions, v_topic.counts, v_topic.keys, v_topic.records, v_topic.attributes);
    moved := moved + v_topic.moved;
    v_bytes := v_topic.bytes;
    rings := rings || (v_topic.topic || ' ' || array_to_string(v_topic.partitions, ' '));
  end loop;
  snapshot := case when moved < p_limit and v_bytes < v_look_bytes then v_now else p_since end;
  return next;
end $$;

-- The relay alone called it, for all topics before its own.
drop function sluice.let_held_in(integer);

-- Where what waits begins, per partition: past what every group has done, what retention has dropped, and the mark. (Second version: the newest
-- segment knows all partitions, and each begins in the first segment that has it.)
create or replace function sluice.waiting_from(p_topic integer) returns table (partition integer, "offset" bigint) language sql stable
begin atomic
  select s.partition, greatest(
    (select f.start_offset from sluice.segment_start f where f.topic = s.topic and f.partition = s.partition order by f.segment limit 1),
    sluice.dropped_below(s.topic, s.partition),
    (select min(p.next_offset) from sluice.position p where p.topic = s.topic and p.partition = s.partition))
  from sluice.segment_start s
  where s.topic = p_topic and s.segment = (select max(f.segment) from sluice.segment f where f.topic = p_topic);
end;

-- Where 'earliest', 'latest', an offset in digits, or a time is in a partition. An offset may lie outside of the log.
-- Null is no place: within the bounds of the log it would become the end, which skips everything.
create or replace function sluice.find_offset(p_topic integer, p_partition integer, p_to text) returns numeric language plpgsql stable as $$
begin
  if p_to is null then
    raise exception 'sluice: a position cannot go to SQL null; nothing was changed'
      using errcode = '22004', hint = 'Say where: earliest, latest, an offset, or a time.';
  end if;
  return case when p_to = 'earliest' then sluice.start_offset(p_topic, p_partition)
    when p_to = 'latest' then sluice.end_offset(p_topic, p_partition)
    when p_to ~ '^[0-9]{1,18}$' then p_to::numeric
    else sluice.offset_at(p_topic, p_partition, p_to::timestamptz) end;
end $$;
