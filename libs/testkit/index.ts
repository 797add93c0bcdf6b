export { type TestDatabase, type TestDatabaseOptions, testDatabase } from "./database.ts";
export { dumpSchema } from "./dump-schema.ts";
export { testServer } from "./server.ts";
