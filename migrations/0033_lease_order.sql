-- breaking: no
-- Leases are locked in the order of their numbers. Whoever let many run out at once (sluice.expire_lease over sluice.pending) could meet their
-- member while it wrote them, and one of the two was ended as a deadlock.

-- Writes what is done of leases, and renews them. A null among p_done: all of it is, so the lease goes, and its range is counted
-- in the position. Returns the leases that were accepted; one that is missing was taken over by another member.
-- Locks: the fences, shared, ascending; then the leases' rows, ascending; then the positions' rows, ascending.
create or replace function sluice.acknowledge_leases(p_leases bigint[], p_positions integer[], p_done text[], p_lease_ms bigint)
returns setof bigint language plpgsql as $$
declare
  v record;
begin
  for v in select distinct a.position from unnest(p_positions) a(position) order by 1 loop
    perform pg_advisory_xact_lock_shared(1936487683, v.position);
  end loop;
  perform from sluice.lease l where l.lease = any (p_leases) order by l.lease for update;
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
