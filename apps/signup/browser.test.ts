import { expect, test } from "bun:test";
import { noBrowser, openBrowser } from "@sluice/app-kit/testing";
import { startTestService } from "./testing.ts";

test.skipIf(noBrowser !== undefined)(
  "[U1] somebody fills in the form, sees every step finish, and finds the mail",
  async () => {
    await using service = await startTestService();
    await service.vouchers.start();
    // The browser itself reports the 400 that this test provokes.
    await using browser = await openBrowser({ expected: ["400"] });
    const { page } = browser;
    await page.goto(service.url);
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.getByText("This is not an e-mail address.").waitFor();

    await page.getByLabel("Name").fill("Ada <b>Lovelace</b>");
    await page.getByLabel("E-mail").fill("ada@people.example");
    await page.getByLabel("Telephone").fill("+49 151 12345678");
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.getByText("Welcome! The answer took").waitFor();

    const row = page.getByRole("listitem").filter({ hasText: "Ada <b>Lovelace</b>" });
    for (const step of [/e-mail after \d+ ms/, /SMS after \d+ ms/, /voucher after \d+ ms/]) {
      await row.getByText(step).waitFor();
    }
    const picture = page.getByRole("region", { name: "Topics and groups, live" });
    await picture.getByText("1 in the log").waitFor();
    for (const group of ["email", "sms", "voucher"]) {
      await picture.getByRole("listitem").filter({ hasText: group }).getByText("caught up").waitFor();
    }

    await page.getByRole("link", { name: "Mails" }).click();
    await page.getByRole("heading", { name: "Welcome, Ada <b>Lovelace</b>" }).waitFor();
    expect(browser.complaints).toEqual([]);
  },
  60_000,
);

test.skipIf(noBrowser !== undefined)(
  "[U1] a scenario starts by its button; attempts, dead letters and the redrive are seen, and its claims at the end",
  async () => {
    await using service = await startTestService();
    await using browser = await openBrowser({ width: 360, height: 740, colorScheme: "dark" });
    const { page } = browser;
    await page.goto(service.url);
    await page.getByRole("button", { name: "Start: The SMS provider is down" }).click();
    const signup = page.locator(".signup");
    await signup
      .getByText(/SMS attempt \d failed, trying again/)
      .first()
      .waitFor();
    await signup
      .getByText(/SMS dead letter after 5 attempts/)
      .first()
      .waitFor();
    await signup
      .getByText(/SMS after \d+ m?s, redriven/)
      .first()
      .waitFor();
    const card = page.getByRole("article").filter({ hasText: "The SMS provider is down" });
    await card.getByText("passed", { exact: true }).waitFor();
    await card.getByText("everybody got exactly one text message").waitFor();
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    expect(browser.complaints).toEqual([]);
  },
  60_000,
);

test.skipIf(noBrowser !== undefined)(
  "[U1] the form works without scripts, too",
  async () => {
    await using service = await startTestService();
    await using browser = await openBrowser({ javaScript: false });
    const { page } = browser;
    await page.goto(service.url);
    await page.getByLabel("Name").fill("Grace Hopper");
    await page.getByLabel("E-mail").fill("grace@people.example");
    await page.getByLabel("Telephone").fill("+49 151 12345679");
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.waitForURL("**/?welcome*");
    const [user] = await service.database.sql`select name from signup.users`;
    expect(user?.["name"]).toBe("Grace Hopper");
  },
  60_000,
);
