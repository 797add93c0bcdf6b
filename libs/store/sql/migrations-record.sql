-- Records an applied migration, in the migration's own transaction.
-- Parameters: $1 number, $2 name, $3 hash, $4 breaking. Locks: the new row.
insert into sluice.migrations (number, name, hash, breaking) values ($1, $2, $3, $4)
