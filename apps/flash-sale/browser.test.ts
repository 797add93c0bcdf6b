import { expect, test } from "bun:test";
import { eventually, noBrowser, openBrowser } from "@sluice/app-kit/testing";
import { startTestSale } from "./testing.ts";

test.skipIf(noBrowser !== undefined)(
  "[U3] somebody opens a sale, buys, pays, and finds it bought when the page is loaded again",
  async () => {
    await using app = await startTestSale();
    await using browser = await openBrowser({ width: 360, height: 740, colorScheme: "dark" });
    const { page } = browser;
    await page.goto(app.url);
    await page.getByRole("button", { name: "No sale yet" }).waitFor();
    await page.getByRole("button", { name: "New sale" }).click();
    await page.getByRole("heading", { name: "Flash sale 1" }).waitFor();

    // In line, while the order service stands still.
    await app.sluice.groups.pause("order-service");
    await page.getByRole("button", { name: "Buy one" }).click();
    await page.getByText("You are in line: place 1").waitFor();
    await app.sluice.groups.resume("order-service");
    await page.getByText("One is yours!").waitFor();
    await page.locator("#in-stock").getByText("99").waitFor();
    await page.getByRole("button", { name: "Pay now" }).click();
    await page.getByText("Bought. Thank you!").waitFor();
    await page.getByRole("row", { name: /^1 100 1 0 0 0 0$/ }).waitFor();
    await page.reload();
    await page.getByText("Bought. Thank you!").waitFor();
    expect(await page.getByRole("button", { name: "Buy one" }).isVisible()).toBe(false);
    expect(await page.getByRole("link", { name: "A newer sale" }).isVisible()).toBe(false);
    const newer = await app.open(7);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    await page.getByRole("link", { name: "A newer sale" }).click();
    await page.getByRole("heading", { name: `Flash sale ${newer}` }).waitFor();
    expect(browser.complaints).toEqual([]);
  },
  60_000,
);

test.skipIf(noBrowser !== undefined)(
  "[U3] a scenario starts by its button; the plot shows the peak and the line, and the claims hold",
  async () => {
    await using app = await startTestSale();
    await using browser = await openBrowser();
    const { page } = browser;
    await page.goto(app.url);
    await page.getByRole("button", { name: "Start: The order service is killed" }).click();
    const plot = page.getByRole("figure", { name: "Orders per second and orders in line" });
    await plot
      .locator(".key.queued")
      .getByText(/^[1-9]\d*$/)
      .waitFor();
    await plot.getByText("processed").waitFor();
    // It moves.
    const drawn = () => plot.locator("path.line.arriving").getAttribute("d");
    const before = await drawn();
    await eventually("the plot is drawn anew", async () => (await drawn()) !== before);
    const card = page.getByRole("article").filter({ hasText: "The order service is killed" });
    await card.getByText("passed", { exact: true }).waitFor({ timeout: 50_000 });
    await card.getByText("exactly the stock was sold").waitFor();
    expect(browser.complaints).toEqual([]);
  },
  90_000,
);
