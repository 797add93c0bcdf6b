import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { portrait, samplePhotos } from "@sluice/app-kit/pictures";
import { noBrowser, openBrowser } from "@sluice/app-kit/testing";
import { timeZoneOf } from "./hours.ts";
import { startTestService } from "./testing.ts";

test.skipIf(noBrowser !== undefined)(
  "[U2][U4] somebody uploads while recognition is stopped, starts it, and finds a person by their face",
  async () => {
    await using service = await startTestService({ TIME_ZONE: timeZoneOf("idle") });
    const folder = mkdtempSync(join(tmpdir(), "sluice-photos-"));
    const files = [samplePhotos()[2], await portrait(1, "mirrored"), { name: "no.jpg", bytes: Buffer.from("none") }];
    const paths = files.map((file, index) => join(folder, file?.name ?? `${index}`));
    for (const [index, file] of files.entries()) writeFileSync(paths[index] ?? "", file?.bytes ?? "");
    // The browser itself reports the 415 that this test provokes.
    await using browser = await openBrowser({ expected: ["415"] });
    const { page } = browser;
    page.setDefaultTimeout(25_000);
    await page.goto(service.url);
    await page.getByText("Stopped. Uploads go on, and wait.").waitFor();
    await page.getByLabel("JPEG, PNG or WebP").setInputFiles(paths);
    await page.getByRole("button", { name: "Upload" }).click();
    await page.getByText("sample3.jpg: uploaded, answered after").waitFor();
    await page.getByText("no.jpg: this is no JPEG, PNG or WebP picture").waitFor();
    await page.getByText("waits for recognition").first().waitFor();

    await page.getByRole("button", { name: "1", exact: true }).click();
    await page.getByText("idle hours: as fast as it goes").waitFor();
    await page.getByText("in the index").nth(1).waitFor();
    const people = page.getByRole("region", { name: "People" });
    await people.getByText("2 photos").waitFor();
    const shot = process.env["SCREENSHOT"];
    if (shot !== undefined) await page.screenshot({ path: shot, fullPage: true });
    const sample = page.getByRole("listitem").filter({ hasText: "sample3.jpg, " }).or(page.locator(".photo").last());
    expect(await sample.getByRole("link", { name: /^Find person/ }).count()).toBe(3);
    await people.getByRole("link").filter({ hasText: "2 photos" }).click();
    await page.getByRole("heading", { name: /^Photos of person/ }).waitFor();
    expect(await page.locator(".photo").count()).toBe(2);
    expect(browser.complaints).toEqual([]);
    rmSync(folder, { recursive: true });
  },
  60_000,
);

test.skipIf(noBrowser !== undefined)(
  "a plain form works in a browser, too, and on a narrow screen in the dark nothing is cut off",
  async () => {
    await using service = await startTestService();
    await using browser = await openBrowser({ width: 360, height: 740, colorScheme: "dark" });
    await browser.page.goto(service.url);
    await browser.page.getByRole("button", { name: "Add six sample photos" }).click();
    await browser.page.getByText("sample6.jpg").first().waitFor();
    expect(await browser.page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    expect(browser.complaints).toEqual([]);
  },
  60_000,
);
