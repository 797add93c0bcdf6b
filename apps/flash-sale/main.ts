import { runMain } from "@sluice/app-kit";
import { flashSaleEnvironment } from "./environment.ts";
import { startFlashSale } from "./service.ts";

await runMain({
  name: "flash-sale",
  help: `A flash sale: its page, the bounded line in front of it, and the order service as a process of its own.

environment: SESSION_SECRET BURST_PER_SECOND`,
  environment: flashSaleEnvironment,
  start: startFlashSale,
});
