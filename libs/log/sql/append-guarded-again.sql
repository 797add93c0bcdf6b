-- Repeats an append of messages $2 to topic $1 whose answer did not come; see migrations/0013_guards.sql for the parameters.
-- Locks: appending to a guarded topic, then appending, by partition ascending, until the end of the transaction.
select sluice.append_guarded_again($1::integer, $2::text::json, $3::bigint, $4::bigint, $5, $6) as answer
