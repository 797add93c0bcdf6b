-- Member $1 of group $2 in topic $3 goes by window $4 (null: none), which is open or not ($5), with concurrency $6 and rate $7, since
-- $8 and until $9 (ms since 1970, null: always, for ever).
-- Locks: the row.
insert into sluice.hours_in_force as h (member, "group", topic, "window", open, concurrency, rate, since, until)
values ($1, $2, $3, $4, $5, $6, $7, to_timestamp($8::double precision / 1000), to_timestamp($9::double precision / 1000))
on conflict (member, "group", topic) do update
set "window" = excluded."window", open = excluded.open, concurrency = excluded.concurrency, rate = excluded.rate, since = excluded.since,
  until = excluded.until
