-- breaking: no
-- Groups that share a topic message by message, single active consumers, and retention that knows its readers.
--
-- A position of a shared group has no owner. Its members lease ranges of offsets from it, and the position is the low
-- watermark of what is done. Where the next range begins is not counted anywhere: it follows from the position and the leases that are
-- there, so nothing is updated per message, and little per range. The number of a lease is the right to write in its name: whoever
-- takes a range over gives it a new one, and what the holder before writes is refused.
--
-- One more class of advisory locks, the last in the lock order: nothing is asked for under it.
--   1936487691  leasing from a position                key: position number                         transaction

alter table sluice.subscription add column single_active boolean not null default false;
comment on column sluice.subscription.single_active is 'Whether one member is to own all partitions of the group and topic while the others stand by.';

alter table sluice.topic add column retention_consumed boolean not null default false;
comment on column sluice.topic.retention_consumed is 'Whether a segment goes as soon as every group that has positions in the topic has passed it.';

create table sluice.group_topic (
  "group" integer not null,
  topic integer not null,
  mode text not null,
  protected boolean not null default false,
  constraint group_topic_pkey primary key ("group", topic),
  constraint group_topic_group foreign key ("group") references sluice.consumer_group ("group"),
  constraint group_topic_topic foreign key (topic) references sluice.topic (topic) on delete cascade,
  constraint group_topic_mode_known check (mode in ('assigned', 'shared', 'broadcast'))
);
comment on table sluice.group_topic is 'How a group works on a topic. One that works on it in one way cannot work in another.';
comment on column sluice.group_topic.mode is 'assigned: a partition has one owner. shared: members lease ranges of it. broadcast: each member reads all of it and keeps its own place.';
comment on column sluice.group_topic.protected is 'Whether retention keeps what the group has not passed.';
insert into sluice.group_topic ("group", topic, mode) select distinct "group", topic, 'assigned' from sluice.position;

-- Notes how a group works on a topic, and returns how it does. Another answer than what was asked for: it works otherwise, and
-- nothing was changed.
-- Locks: the row.
create function sluice.register_consumer(p_group integer, p_topic integer, p_mode text, p_protected boolean) returns text
language plpgsql as $$
begin
  insert into sluice.group_topic as g ("group", topic, mode, protected) values (p_group, p_topic, p_mode, p_protected)
  on conflict ("group", topic) do update set protected = excluded.protected
  where g.mode = excluded.mode and g.protected <> excluded.protected;
  return (select mode from sluice.group_topic where "group" = p_group and topic = p_topic);
end $$;
comment on function sluice.register_consumer(integer, integer, text, boolean) is 'Notes how a group works on a topic; returns how it does.';

-- (No foreign key to the position: its check would lock the position's row on behalf of every range.)
create table sluice.lease (
  lease bigint generated always as identity,
  position integer not null,
  from_offset bigint not null,
  to_offset bigint not null,
  done int8multirange not null default '{}',
  member integer,
  deliveries smallint not null default 0,
  leased_at timestamptz not null default clock_timestamp(),
  lease_until timestamptz not null,
  constraint lease_pkey primary key (lease),
  constraint lease_range_unique unique (position, to_offset),
  constraint lease_range_check check (from_offset >= 0 and to_offset > from_offset),
  constraint lease_deliveries_check check (deliveries >= 0)
) with (fillfactor = 50);
comment on table sluice.lease is 'A range of offsets that a member of a shared group works on. Gone when all of it is done. See the view sluice.pending.';
comment on column sluice.lease.lease is 'The right to write in its name: it changes when another member takes the range over.';
comment on column sluice.lease.done is 'What of the range is done; written at intervals.';
comment on column sluice.lease.member is 'Who has it; null when it was given back.';
comment on column sluice.lease.deliveries is 'How often it was taken over from a member that died or froze. Above 0, its messages are handed over one by one.';
comment on column sluice.lease.lease_until is 'Renewed while its member lives, by the database''s clock. Afterwards, or when the member''s session is gone, any member takes it over.';

create table sluice.shared_retry (
  position integer not null,
  "offset" bigint not null,
  attempt integer not null,
  due timestamptz not null,
  error text,
  key text,
  claim bigint,
  member integer,
  lease_until timestamptz,
  constraint shared_retry_pkey primary key (position, "offset"),
  constraint shared_retry_position foreign key (position) references sluice.position (position) on delete cascade,
  constraint shared_retry_attempt_check check (attempt between 0 and 1001),
  constraint shared_retry_error_length check (length(error) <= 8192),
  constraint shared_retry_key_length check (length(key) <= 1024),
  constraint shared_retry_claim_whole check ((claim is null) = (member is null) and (claim is null) = (lease_until is null))
) with (fillfactor = 70);
create index shared_retry_due on sluice.shared_retry (position, due);
comment on table sluice.shared_retry is 'A message of a shared group that failed, or whose process died, until it is done or given up. See the view sluice.shared_retries.';
comment on column sluice.shared_retry.attempt is 'Attempts that were begun, counted before the message is handed over: one that kills its process counts.';
comment on column sluice.shared_retry.due is 'Not before this, by the database''s clock. Infinity: its consumer was told to pause on it.';
comment on column sluice.shared_retry.claim is 'The right to write in its name, while a member has it in hand.';
create sequence sluice.claim_number as bigint;
comment on sequence sluice.claim_number is 'A number for every time a member takes a message that failed in hand.';

-- Who lives: the members whose session holds its lock.
-- Locks: none (pg_locks is a snapshot of the lock table).
create function sluice.live_members() returns setof integer language sql stable as $$
  select l.objid::bigint::integer from pg_locks l
  where l.locktype = 'advisory' and l.classid = 1936487685 and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database())
$$;
comment on function sluice.live_members() is 'The members whose session is there.';

-- Counts ranges of a position as done: its low watermark goes up as far as there is no hole, and the markers below the ranges'
-- ends go.
-- Locks: the position's row.
create function sluice.fold_done(p_position integer, p_done int8multirange) returns void language plpgsql as $$
declare
  v_next bigint;
  v_done int8multirange;
begin
  select p.next_offset, p.done_above + p_done into v_next, v_done from sluice.position p where p.position = p_position for update;
  if not found then return; end if;
  v_next := coalesce((select upper(r) from unnest(v_done) r where r @> v_next), v_next);
  update sluice.position p set next_offset = v_next, done_above = v_done - int8multirange(int8range(null, v_next)),
    committed_at = clock_timestamp()
  where p.position = p_position;
  delete from sluice.done d using unnest(p_done) r
  where d.position = p_position and d."offset" >= lower(r) and d."offset" < upper(r);
end $$;
comment on function sluice.fold_done(integer, int8multirange) is 'Internal: counts ranges of a shared position as done.';

-- Leases a member the next range of each position: up to p_most offsets, never past the end of the log. A position without
-- more gives no row. Where retention has dropped what would be next, that counts as done.
--
-- Its commit waits for no disk: one that the server forgets in a crash has begun nothing that lasted, because everything that was
-- written on its strength stands behind it in the WAL.
-- Locks: leasing, per position in ascending order; the position's row where something was dropped.
create function sluice.lease_ranges(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns table (lease bigint, "position" integer, from_offset bigint, to_offset bigint) language plpgsql as $$
declare
  v record;
  v_position integer;
  v_from bigint;
  v_start bigint;
  v_end bigint;
begin
  perform set_config('synchronous_commit', 'off', true);
  for v_position in select unnest(p_positions) order by 1 loop
    perform pg_advisory_xact_lock(1936487691, v_position);
    -- In one statement, and so in one snapshot: a lease that is acknowledged goes from one to the other. And only leases above
    -- what is done: those that are gone left dead rows behind, and those are all below it.
    select p.topic, p.partition, greatest(p.next_offset, upper(p.done_above), (
        select max(l.to_offset) from sluice.lease l
        where l.position = p.position and l.to_offset > greatest(p.next_offset, upper(p.done_above)))) as leased_to
      into v from sluice.position p where p.position = v_position;
    continue when not found;
    v_from := v.leased_to;
    v_start := sluice.start_offset(v.topic, v.partition);
    if v_start > v_from then
      perform sluice.fold_done(v_position, int8multirange(int8range(v_from, v_start)));
      v_from := v_start;
    end if;
    v_end := sluice.end_offset(v.topic, v.partition);
    continue when v_end <= v_from;
    return query
      insert into sluice.lease as l (position, from_offset, to_offset, member, lease_until)
      values (v_position, v_from, least(v_end, v_from + p_most), p_member,
        clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000))
      returning l.lease, l.position, l.from_offset, l.to_offset;
  end loop;
end $$;
comment on function sluice.lease_ranges(integer, integer[], integer, bigint) is 'Leases a member of a shared group the next range of each position.';

-- Takes over up to p_most ranges that were given back, whose member is gone, or whose lease at another member has run out. What is done of them,
-- by their row or by markers, is left out. Each gets a new number.
-- Locks: the fences, exclusive, ascending: it waits for what is in flight in the name of the old number. At most two seconds.
create function sluice.take_over_leases(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns table (lease bigint, "position" integer, from_offset bigint, to_offset bigint, done text, deliveries smallint)
language plpgsql as $$
declare
  v record;
begin
  perform set_config('lock_timeout', '2s', true);
  for v in
    select l.lease, l.position from sluice.lease l
    where l.position = any (p_positions)
      and (l.member is null or l.member not in (select sluice.live_members())
        or (l.lease_until < clock_timestamp() and l.member <> p_member))
    order by l.position, l.to_offset limit p_most
  loop
    perform pg_advisory_xact_lock(1936487683, v.position);
    -- It may have been renewed, or taken by another, while this waited.
    return query
      update sluice.lease l set lease = default, member = p_member,
        deliveries = l.deliveries + (l.member is not null)::integer,
        done = l.done + coalesce(
          (select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d
            where d.position = l.position and d."offset" >= l.from_offset and d."offset" < l.to_offset), '{}'),
        lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
      where l.lease = v.lease
        and (l.member is null or l.member not in (select sluice.live_members())
          or (l.lease_until < clock_timestamp() and l.member <> p_member))
      returning l.lease, l.position, l.from_offset, l.to_offset, l.done::text, l.deliveries;
  end loop;
end $$;
comment on function sluice.take_over_leases(integer, integer[], integer, bigint) is 'Takes over ranges of a shared group that nobody works on any more.';

-- Writes what is done of leases, and renews them. A null among p_done: all of it is, so the lease goes, and its range is counted
-- in the position. Returns the leases that were accepted; one that is missing was taken over by another member.
-- Locks: the fences, shared, ascending; then the leases' rows; then the positions' rows, ascending.
create function sluice.acknowledge_leases(p_leases bigint[], p_positions integer[], p_done text[], p_lease_ms bigint)
returns setof bigint language plpgsql as $$
declare
  v record;
begin
  for v in select distinct a.position from unnest(p_positions) a(position) order by 1 loop
    perform pg_advisory_xact_lock_shared(1936487683, v.position);
  end loop;
  return query
    update sluice.lease l set done = l.done + a.done::int8multirange,
      lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
    from unnest(p_leases, p_done) a(lease, done) where l.lease = a.lease and a.done is not null
    returning l.lease;
  for v in
    with gone as (
      delete from sluice.lease l using unnest(p_leases, p_done) a(lease, done) where l.lease = a.lease and a.done is null
      returning l.lease, l.position, int8range(l.from_offset, l.to_offset) as range)
    select g.position, array_agg(g.lease) as leases, range_agg(g.range) as done from gone g group by g.position order by g.position
  loop
    perform sluice.fold_done(v.position, v.done);
    return query select unnest(v.leases);
  end loop;
end $$;
comment on function sluice.acknowledge_leases(bigint[], integer[], text[], bigint) is 'Writes what is done of leases; returns those that were accepted.';

-- Gives leases back: whoever comes next takes them, and it costs their messages no attempt.
-- Locks: the rows.
create function sluice.release_leases(p_leases bigint[]) returns void language sql
begin atomic
  update sluice.lease set member = null where lease = any (p_leases);
end;
comment on function sluice.release_leases(bigint[]) is 'Gives leases back.';

-- For an operator: lets a lease run out now. The next member that looks takes the range over, and what the present one writes is
-- refused. Returns whether there is such a lease.
-- Locks: the row.
create function sluice.expire_lease(p_lease bigint) returns boolean language plpgsql as $$
begin
  update sluice.lease set lease_until = '-infinity' where lease = p_lease;
  return found;
end $$;
comment on function sluice.expire_lease(bigint) is 'Lets a lease run out now, so that another member takes its range. See sluice.pending.';

-- The last statement of a handler's own transaction, for a message of a leased range: it is done if and only if the transaction
-- commits. 'done'; 'already' when it was done or put off before; 'fenced' when the lease is another member's by now.
-- Locks: the fence of the position, shared, until the transaction ends: a takeover waits for it.
create function sluice.mark_leased_done(p_position integer, p_lease bigint, p_offset bigint) returns text language plpgsql as $$
declare
  v_is_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
  if not found then return 'already'; end if;
  -- Looked for afterwards: who puts a message off holds its marker while it does, and what was put off counts as done here.
  select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position;
  if not found then return 'fenced'; end if;
  return case when v_is_done then 'already' else 'done' end;
end $$;
comment on function sluice.mark_leased_done(integer, bigint, bigint) is 'Marks a message of a leased range as done within the caller''s transaction.';

-- The same for a message that is in hand again after a failure: its row goes with the transaction.
-- Locks: the row.
create function sluice.mark_retry_done(p_position integer, p_offset bigint, p_claim bigint) returns text language plpgsql as $$
begin
  delete from sluice.shared_retry where position = p_position and "offset" = p_offset and claim = p_claim;
  return case when found then 'done' else 'fenced' end;
end $$;
comment on function sluice.mark_retry_done(integer, bigint, bigint) is 'Marks a message that failed before as done within the caller''s transaction.';

-- Moves a message out of its leased range into a row of its own: to be tried again after p_delay_ms (null: never by itself), or,
-- where a member is given, in that member's hand at once, which counts as an attempt. Returns the claim in the latter case.
-- 'moved'; 'done' when its handler's transaction has committed after all; 'fenced' when the lease is another member's by now.
-- Locks: the fence of the position, shared; the message's marker, which waits for its handler's transaction; the lease's row.
create function sluice.move_to_retry(
  p_position integer, p_lease bigint, p_offset bigint, p_attempt integer, p_delay_ms double precision, p_error text, p_key text,
  p_member integer, p_lease_ms bigint, out outcome text, out claim bigint
) language plpgsql as $$
declare
  v_is_done boolean;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select l.done @> p_offset into v_is_done from sluice.lease l where l.lease = p_lease and l.position = p_position;
  if not found then
    outcome := 'fenced';
    return;
  end if;
  if v_is_done then
    -- Repeated, because the answer was lost.
    outcome := 'moved';
    claim := (select r.claim from sluice.shared_retry r
      where r.position = p_position and r."offset" = p_offset and r.member = p_member);
    return;
  end if;
  insert into sluice.done (position, "offset") values (p_position, p_offset) on conflict do nothing;
  if not found then
    outcome := 'done';
    return;
  end if;
  delete from sluice.done d where d.position = p_position and d."offset" = p_offset;
  if p_member is not null then claim := nextval('sluice.claim_number'); end if;
  insert into sluice.shared_retry (position, "offset", attempt, due, error, key, claim, member, lease_until)
  values (p_position, p_offset, p_attempt,
    coalesce(clock_timestamp() + make_interval(secs => p_delay_ms / 1000), 'infinity'), p_error, p_key, claim, p_member,
    case when p_member is not null then clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000) end);
  update sluice.lease l set done = l.done + int8multirange(int8range(p_offset, p_offset + 1)) where l.lease = p_lease;
  outcome := 'moved';
end $$;
comment on function sluice.move_to_retry is 'Moves a message of a leased range into a row of its own.';

-- Takes up to p_most messages in hand that are due and in nobody's hand, or in that of a member that is gone. Each is an attempt,
-- counted before it is made.
-- Locks: the rows; those that another has are passed over.
create function sluice.claim_retries(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns table ("position" integer, "offset" bigint, attempt integer, claim bigint) language sql as $$
  with due as (
    select r.position, r."offset" from sluice.shared_retry r
    where r.position = any (p_positions) and r.due <= clock_timestamp()
      and (r.member is null or r.member not in (select sluice.live_members())
        or (r.lease_until < clock_timestamp() and r.member <> p_member))
    order by r.due limit p_most for update skip locked)
  update sluice.shared_retry r set attempt = r.attempt + 1, claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r."offset" = due."offset"
  returning r.position, r."offset", r.attempt, r.claim
$$;
comment on function sluice.claim_retries(integer, integer[], integer, bigint) is 'Takes messages in hand that failed before and are due.';

-- What a member sees of its group's messages that failed; whose topic it is and how it stands.
create view sluice.shared_retries as
select g.name as "group", t.name as topic, p.partition, r."offset", r.key, r.attempt, r.due, r.error, m.name as member, r.lease_until
from sluice.shared_retry r
join sluice.position p using (position)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.member m on m.member = r.member;
comment on view sluice.shared_retries is 'Sluice: messages of shared groups that failed and wait for their next attempt, or are in hand again.';
comment on column sluice.shared_retries.attempt is 'Attempts that were begun so far.';
comment on column sluice.shared_retries.member is 'Who has it in hand; null when it waits.';

create view sluice.pending as
select g.name as "group", t.name as topic, p.partition, l.from_offset, l.to_offset,
  l.to_offset - l.from_offset - coalesce((select sum(upper(r) - lower(r)) from unnest(l.done) r), 0)::bigint as messages,
  m.name as member, l.deliveries, l.leased_at, l.lease_until, l.lease
from sluice.lease l
join sluice.position p using (position)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.member m on m.member = l.member;
comment on view sluice.pending is 'Sluice: what members of shared groups have in hand, by range: handed out or about to be, and not acknowledged.';
comment on column sluice.pending.messages is 'How many of the range are not done, as of the last time it was written.';
comment on column sluice.pending.deliveries is 'How often the range was taken over from a member that died or froze.';
comment on column sluice.pending.lease is 'For sluice.expire_lease().';

create view sluice.idle_members as
select m.member, m.name, g.name as "group", t.name as topic
from sluice.subscription s
join sluice.member m using (member)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
join sluice.group_topic gt on gt."group" = s."group" and gt.topic = s.topic and gt.mode = 'assigned'
where s.member in (select sluice.live_members())
  and not exists (select from sluice.position p where p."group" = s."group" and p.topic = s.topic and p.owner = s.member);
comment on view sluice.idle_members is 'Sluice: members that stand by: their group has more of them than the topic has partitions, or one active only.';

-- Up to where retention may drop, and must not, per partition of a topic: where the groups that have positions in it are, what
-- failed in them and waits included. Null: no group has a position there, or none that is protected.
-- Locks: none. Positions only move on, so what is read here stays safe.
create function sluice.retention_bounds(p_topic integer)
returns table (partition integer, consumed_to bigint, protected_from bigint) language sql stable as $$
  select n.partition, min(held.until), min(held.until) filter (where held.protected)
  from sluice.topic t
  cross join lateral generate_series(0, t.partitions - 1) n(partition)
  left join lateral (
    select least(p.next_offset, (select min(r."offset") from sluice.shared_retry r where r.position = p.position)) as until,
      coalesce(gt.protected, false) as protected
    from sluice.position p left join sluice.group_topic gt on gt."group" = p."group" and gt.topic = p.topic
    where p.topic = t.topic and p.partition = n.partition) held on true
  where t.topic = p_topic
  group by n.partition
$$;
comment on function sluice.retention_bounds(integer) is 'Where the groups of a topic are, for retention.';

-- As sluice.create_topic, for a topic that is a queue: a segment goes when every group has passed it.
-- Locks: see sluice.create_topic.
create function sluice.create_queue(
  p_name text, p_partitions integer default 8, p_encoding text default 'json', p_compression text default 'auto',
  p_retention_ms bigint default null, p_retention_bytes bigint default null,
  p_segment_ms bigint default 60000, p_segment_bytes bigint default 1073741824
) returns integer language plpgsql as $$
declare
  v_topic integer;
begin
  select t.topic into v_topic from sluice.topic t where t.name = p_name;
  if found then return v_topic; end if;
  v_topic := sluice.create_topic(
    p_name, p_partitions, p_encoding, p_compression, p_retention_ms, p_retention_bytes, p_segment_ms, p_segment_bytes);
  update sluice.topic set retention_consumed = true where topic = v_topic;
  return v_topic;
end $$;
comment on function sluice.create_queue is 'Creates a topic whose segments go when every group has passed them, or returns the number of the one that has the name.';
