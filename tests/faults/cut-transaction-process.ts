// A process of its own for the tests of cut transactions: says "open" once it is in a transaction, goes on when it is told to on standard
// input, and says what `begin` came to and whether the process and its client still work.
import { once } from "node:events";
import { setImmediate } from "node:timers/promises";
import postgres from "postgres";
import { guardTransactions } from "sluice";

const { DATABASE_URL: url = "", GUARDED: guarded, STATEMENTS: statements } = process.env;
const client = postgres(url, { max: 1, fetch_types: false });
const sql = guarded === "yes" ? guardTransactions(client) : client;

process.on("uncaughtException", (error) => {
  console.log(`uncaught: ${error.name}`);
  process.exit(1);
});

const goOn = once(process.stdin, "data");
const outcome = await sql
  .begin(async (tx) => {
    await tx`select 1`;
    console.log("open");
    await goOn;
    // Either way the driver goes on to end the transaction: on a connection that is gone.
    for (let number = 0; number < Number(statements); number += 1) await tx`select ${number}::integer`;
  })
  .then(
    () => "committed",
    (error: unknown) => `rejected: ${error instanceof Error && "code" in error ? error.code : error}`,
  );
console.log(outcome);
await goOn;
// Where nobody can catch it, it is thrown a turn or two later.
for (let turn = 0; turn < 10; turn += 1) await setImmediate();
const [row] = await client`select 'alive' as state`;
console.log(row?.["state"]);
process.exit(0);
