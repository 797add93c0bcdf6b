import { expect, test } from "bun:test";
import { mkdirSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@sluice/testkit";
import { mendNative } from "./embedded-binaries.ts";

test("links and execute bits that npm did not make are made, once", () => {
  using folder = temporaryFolder("native");
  const native = join(folder.path, "native");
  mkdirSync(join(native, "bin"), { recursive: true });
  mkdirSync(join(native, "lib"));
  for (const name of ["initdb", "postgres"]) writeFileSync(join(native, "bin", name), "", { mode: 0o644 });
  writeFileSync(join(native, "lib", "libexample.so.5.18"), "");
  const links = [{ source: "native/lib/libexample.so.5.18", target: "native/lib/libexample.so.5" }];
  writeFileSync(join(native, "pg-symlinks.json"), JSON.stringify(links));

  expect(mendNative(native)).toBe(true);
  expect(readlinkSync(join(native, "lib", "libexample.so.5"))).toBe("libexample.so.5.18");
  expect(statSync(join(native, "bin", "postgres")).mode & 0o111).toBe(0o111);
  expect(mendNative(native)).toBe(true);
});
