/** The Postgres that comes along: for the first try, for development, for tests, and for one machine. */
export { type EmbeddedOptions, type EmbeddedServer, startEmbedded } from "@sluice/store/embedded";
