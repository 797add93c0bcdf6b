import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { startTestService } from "./testing.ts";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
if (executablePath === undefined)
  console.log("skipped: the browser test needs an installed Chromium, and there is none");

test.skipIf(executablePath === undefined)(
  "somebody fills in the form, sees both steps finish, and finds the mail",
  async () => {
    await using service = await startTestService();
    const profile = mkdtempSync(join(tmpdir(), "signup-browser-"));
    const context = await chromium.launchPersistentContext(profile, {
      ...(executablePath === undefined ? {} : { executablePath }),
      headless: true,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    });
    try {
      const page = await context.newPage();
      const complaints: string[] = [];
      page.on("pageerror", (error) => complaints.push(error.message));
      page.on("console", (message) => {
        // The browser itself reports the 400 that this test provokes.
        if (message.type() === "error" && !message.text().includes("400")) complaints.push(message.text());
      });
      await page.goto(service.url);
      await page.getByRole("button", { name: "Sign up" }).click();
      await page.getByText("This is not an e-mail address.").waitFor();

      await page.getByLabel("Name").fill("Ada <b>Lovelace</b>");
      await page.getByLabel("E-mail").fill("ada@people.example");
      await page.getByLabel("Telephone").fill("+49 151 12345678");
      await page.getByRole("button", { name: "Sign up" }).click();
      await page.getByText("Welcome! The answer took").waitFor();

      const row = page.getByRole("listitem").filter({ hasText: "Ada <b>Lovelace</b>" });
      await row.getByText(/e-mail after \d+ ms/).waitFor();
      await row.getByText(/SMS after \d+ ms/).waitFor();

      await page.getByRole("link", { name: "Mails" }).click();
      await page.getByRole("heading", { name: "Welcome, Ada <b>Lovelace</b>" }).waitFor();
      expect(complaints).toEqual([]);
    } finally {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    }
  },
  60_000,
);
