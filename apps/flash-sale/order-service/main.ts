import { runMain } from "@sluice/app-kit";
import { flashSaleEnvironment } from "../environment.ts";
import { startOrderService } from "./service.ts";

await runMain({
  name: "order-service",
  command: "bun apps/flash-sale/order-service/main.ts",
  help: "What decides on orders: from the queue, and, to compare, from requests straight to it.",
  environment: flashSaleEnvironment,
  start: startOrderService,
});
