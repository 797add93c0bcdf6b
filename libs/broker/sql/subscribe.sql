-- Member $1 takes part in group $2 for topic $3; $4: one member is to own all of its partitions; $5: how they are to be assigned.
-- Locks: the row.
insert into sluice.subscription (member, "group", topic, single_active, assignment) values ($1, $2, $3, $4, $5)
on conflict on constraint subscription_pkey do update set
  single_active = excluded.single_active, assignment = excluded.assignment, carried = false
