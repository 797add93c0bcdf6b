-- Redriven message $2 of position $1 was handed over for the $3rd time, and that does not count. An owner that has begun it
-- since counts on from there: then nothing is changed, and neither is anything by a repetition.
-- Locks: the row.
update sluice.redriven set attempts = attempts - 1 where position = $1 and redriven = $2 and attempts = $3
