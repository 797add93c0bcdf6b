-- breaking: no
-- Shared groups are looked after as others are: what is redriven, any member takes in hand; a paused group is leased nothing; and
-- where a position is moved, what is leased of it is void.
--
-- A redriven message of a shared group has no owner that would look for it. It is claimed, as one that failed is (0011): the number
-- of the claim is the right to write in its name, and whoever takes it over gives it a new one.

-- Those of some positions that hand over at present. What members lease and claim goes by here, in the same statement.
-- Locks: none.
create function sluice.unpaused(p_positions integer[]) returns integer[] language sql stable
return array(
  select p.position from unnest(p_positions) with ordinality a(position, number) join sluice.position p using (position)
  where not sluice.is_paused(p."group", p.topic, p.partition) order by a.number);
comment on function sluice.unpaused(integer[]) is 'Internal: those of some positions that are not paused, in their order.';

-- Members of earlier versions put a message that their consumer paused on off for ever.
update sluice.shared_retry set due = clock_timestamp() where due = 'infinity' and member is null;
comment on column sluice.shared_retry.due is 'Not before this, by the database''s clock.';

-- Redriving ----------------------------------------------------------------------------------------------------------

alter table sluice.redriven
  add column due timestamptz not null default 'epoch',
  add column claim bigint,
  add column member integer,
  add column lease_until timestamptz,
  add constraint redriven_claim_whole check ((claim is null) = (member is null) and (claim is null) = (lease_until is null));
create index redriven_due on sluice.redriven (position, due);
comment on table sluice.redriven is 'Messages that one group handles once more, waiting beside the log for the owner of the position, or for any member of a shared group. See the view sluice.redriven_messages.';
comment on column sluice.redriven.due is 'Of a shared group: not before this, by the database''s clock.';
comment on column sluice.redriven.claim is 'The right to write in its name, while a member of a shared group has it in hand.';
comment on column sluice.redriven.member is 'Which member of a shared group has it in hand.';
comment on column sluice.redriven.lease_until is 'Renewed while that member lives. Afterwards, or when its session is gone, any member takes it over.';

-- Takes up to p_most redriven messages of a shared group in hand that are due and in nobody's hand, or in that of a member that is
-- gone. Each is an attempt, counted before it is made.
-- Locks: the rows; those that another has are passed over.
create function sluice.claim_redriven(p_member integer, p_positions integer[], p_most integer, p_lease_ms bigint)
returns setof sluice.redriven language sql as $$
  with due as (
    select r.position, r.redriven from sluice.redriven r
    where r.position = any (p_positions) and r.due <= clock_timestamp()
      and (r.member is null or r.member not in (select sluice.live_members())
        or (r.lease_until < clock_timestamp() and r.member <> p_member))
    order by r.due, r."offset" limit p_most for update skip locked)
  update sluice.redriven r set attempts = r.attempts + 1, claim = nextval('sluice.claim_number'), member = p_member,
    lease_until = clock_timestamp() + make_interval(secs => p_lease_ms::double precision / 1000)
  from due where r.position = due.position and r.redriven = due.redriven
  returning r.*
$$;
comment on function sluice.claim_redriven(integer, integer[], integer, bigint) is 'Internal: takes redriven messages of a shared group in hand.';

-- The last statement of a handler's own transaction, for a redriven message in hand: its row goes with the transaction.
-- Locks: the row.
create function sluice.mark_redriven_done(p_position integer, p_offset bigint, p_claim bigint) returns text language plpgsql as $$
begin
  delete from sluice.redriven where position = p_position and "offset" = p_offset and claim = p_claim;
  return case when found then 'done' else 'fenced' end;
end $$;
comment on function sluice.mark_redriven_done(integer, bigint, bigint) is 'Internal: marks a redriven message in hand as done within the caller''s transaction.';

-- A redriven message in hand could not be handled: it is a dead letter again, see sluice.bury_redriven. Nothing happens when it is in
-- another hand, or is done.
-- Locks: the fence of the position, shared; then the rows.
create function sluice.bury_claimed(
  p_position integer, p_offset bigint, p_claim bigint, p_reason text, p_error text, p_attempts integer
) returns text language plpgsql as $$
declare
  v_redriven bigint;
begin
  perform pg_advisory_xact_lock_shared(1936487683, p_position);
  select r.redriven into v_redriven from sluice.redriven r
  where r.position = p_position and r."offset" = p_offset and r.claim = p_claim for update;
  if not found then return 'already'; end if;
  return sluice.bury_redriven(p_position, (select p.epoch from sluice.position p where p.position = p_position), v_redriven,
    p_reason, p_error, p_attempts);
end $$;
comment on function sluice.bury_claimed(integer, bigint, bigint, text, text, integer) is 'Internal: a redriven message in hand is a dead letter again.';

create or replace view sluice.redriven_messages as
select r.redriven, r.dead_letter, g.name as "group", t.name as topic, p.partition, r."offset", r.id, r.key, r.value::json as value,
  r.headers, r."timestamp", r.attempts, r.redrives, r.edited_at, r.edited_by, r.redriven_at, r.redriven_by,
  m.name as member, r.lease_until
from sluice.redriven r
join sluice.position p using (position)
join sluice.consumer_group g using ("group")
join sluice.topic t using (topic)
left join sluice.member m on m.member = r.member;
comment on column sluice.redriven_messages.member is 'Which member of a shared group has it in hand; null when it waits.';

-- Moving -------------------------------------------------------------------------------------------------------------

-- Whether somebody owns a position: the session lock of ownership is held. In a shared group, which owns nothing: a member lives.
create or replace function sluice.is_owned(p_position integer) returns boolean language sql volatile
return exists (
  select from pg_locks l
  where l.locktype = 'advisory' and l.classid = 1936487684 and l.objid = p_position::oid and l.objsubid = 2 and l.granted
    and l.database = (select oid from pg_database where datname = current_database()))
or exists (
  select from sluice.position p
  join sluice.group_topic gt on gt."group" = p."group" and gt.topic = p.topic and gt.mode = 'shared'
  join sluice.subscription s on s."group" = p."group" and s.topic = p.topic
  where p.position = p_position and s.member in (select sluice.live_members()));
comment on function sluice.is_owned(integer) is 'Internal: whether a session owns a position, or shares it.';

-- Moves positions, each to where p_to says (see sluice.find_offset), by p_by, or to where the group p_source is; within the
-- log. What was done above a position counts no more, and what waits to be tried again is forgotten: the log has it.
-- Raises the epoch, also where nobody is: an owner that was cut off may not know yet.
-- Of a shared group the leases go with it: what their holders write afterwards is refused, as they have none.
-- Locks: the fences, exclusive, ascending, until the transaction ends: it waits for what is in flight, and nothing of the old
-- owner commits afterwards; then leasing, ascending; then the rows. A dry run takes none.
create or replace function sluice.move_positions(
  p_act text, p_positions integer[], p_to text, p_by bigint, p_source integer, p_dry_run boolean, p_force boolean
) returns table (topic text, partition integer, from_offset bigint, to_offset bigint, skipped bigint, repeated bigint, note text)
language plpgsql as $$
#variable_conflict use_column
declare
  v_position record;
  v_owned text;
  v_wanted numeric;
  v_done int8multirange;
  v_moves json[] := '{}';
  v_subject text;
begin
  if not p_dry_run then
    for v_position in select unnest(p_positions) as position order by 1 loop
      perform pg_advisory_xact_lock(1936487683, v_position.position);
    end loop;
    -- A lease that is being given at this moment is given before this, and void, or after it.
    for v_position in select unnest(p_positions) as position order by 1 loop
      perform pg_advisory_xact_lock(1936487691, v_position.position);
    end loop;
    select string_agg(format('%s/%s', t.name, p.partition), ', ' order by t.name, p.partition) into v_owned
    from sluice.position p join sluice.topic t using (topic)
    where p.position = any (p_positions) and sluice.is_owned(p.position);
    if v_owned is not null and not p_force then
      raise exception 'sluice: members of the group are at work on %; nothing was moved', left(v_owned, 500) using errcode = 'SL030',
        hint = 'Stop them first, or pass force => true: what they have in flight is void then, and they go on from the new place.';
    end if;
  end if;
  for v_position in
    select p.*, t.name, g.name as group_name, sluice.start_offset(p.topic, p.partition) as start_offset,
      sluice.end_offset(p.topic, p.partition) as end_offset
    from sluice.position p join sluice.topic t using (topic) join sluice.consumer_group g using ("group")
    where p.position = any (p_positions) order by t.name, p.partition
  loop
    v_wanted := case when p_by is not null then v_position.next_offset::numeric + p_by
      when p_source is not null then (select s.next_offset from sluice.position s
        where s."group" = p_source and s.topic = v_position.topic and s.partition = v_position.partition)
      else sluice.find_offset(v_position.topic, v_position.partition, p_to) end;
    v_done := v_position.done_above + coalesce((
      select range_agg(int8range(d."offset", d."offset" + 1)) from sluice.done d
      where d.position = v_position.position and d."offset" >= v_position.next_offset), '{}') + coalesce((
      select range_agg(r) from sluice.lease l cross join lateral unnest(l.done) r where l.position = v_position.position), '{}');
    topic := v_position.name;
    partition := v_position.partition;
    from_offset := v_position.next_offset;
    to_offset := greatest(v_position.start_offset, least(v_position.end_offset, v_wanted));
    skipped := greatest(to_offset - from_offset, 0) - coalesce((
      select sum(upper(r) - lower(r)) from unnest(v_done * int8multirange(int8range(null, to_offset))) r), 0);
    repeated := greatest(least(from_offset, v_position.end_offset) - to_offset, 0) + coalesce((
      select sum(upper(r) - lower(r)) from unnest(v_done * int8multirange(int8range(to_offset, null))) r), 0);
    note := nullif(concat_ws('; ',
      case when v_wanted < to_offset then format('%s is before the log, which begins at %s', v_wanted, to_offset)
        when v_wanted > to_offset then format('%s is beyond the log, which ends at %s', v_wanted, to_offset) end,
      case when sluice.is_owned(v_position.position) then
        case when p_dry_run then 'a member is at work on it: needs force' else 'its member was fenced' end end), '');
    if not p_dry_run then
      update sluice.position p set next_offset = to_offset, done_above = '{}', epoch = p.epoch + 1, committed_at = clock_timestamp()
      where p.position = v_position.position;
      delete from sluice.done d where d.position = v_position.position;
      delete from sluice.lease l where l.position = v_position.position;
      delete from sluice.shared_retry r where r.position = v_position.position;
      if to_regclass('sluice.retry') is not null then
        execute 'delete from sluice.retry where position = $1' using v_position.position;
      end if;
      v_moves := v_moves || json_build_object('position', v_position.position, 'topic', topic, 'partition', partition,
        'from', from_offset, 'to', to_offset, 'skipped', skipped, 'repeated', repeated);
      v_subject := format('group %s', v_position.group_name);
      perform pg_notify('sluice', 'group ' || v_position."group");
    end if;
    return next;
  end loop;
  if v_subject is not null then
    perform sluice.write_audit(p_act, v_subject, json_build_object('to', p_to, 'by', p_by,
      'source', (select g.name from sluice.consumer_group g where g."group" = p_source), 'forced', p_force, 'moves', array_to_json(v_moves)));
  end if;
end $$;
