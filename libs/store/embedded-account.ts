import { readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** The operating system's user that Postgres runs as. */
export interface Account {
  readonly name: string;
  readonly userId: number;
  readonly groupId: number;
}

/**
 * The account that Postgres must be run as because this process is root, whom Postgres refuses; undefined for
 * everybody else, who run it as themselves.
 *
 * An existing folder keeps its owner, so that `sudo` does not take a developer's data away. Otherwise it is `postgres`
 * where that user exists, else `nobody`.
 */
export function unprivilegedAccount(existingFolder: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = accountsOfThisMachine();
  const folder = statSync(existingFolder, { throwIfNoEntry: false });
  if (folder !== undefined && folder.uid !== 0) {
    const owner = accounts.find((account) => account.userId === folder.uid);
    return owner ?? { name: String(folder.uid), userId: folder.uid, groupId: folder.gid };
  }
  for (const name of ["postgres", "nobody"]) {
    const account = accounts.find((candidate) => candidate.name === name && candidate.userId > 0);
    if (account !== undefined) return account;
  }
  return { name: "nobody", userId: 65534, groupId: 65534 };
}

function accountsOfThisMachine(): Account[] {
  const accounts: Account[] = [];
  for (const line of readFileSync("/etc/passwd", "utf8").split("\n")) {
    const [name, , userId, groupId] = line.split(":");
    if (name === undefined || userId === undefined || groupId === undefined) continue;
    accounts.push({ name, userId: Number(userId), groupId: Number(groupId) });
  }
  return accounts;
}

/**
 * Whether the account may enter the folder and every folder above it, judged by owner, group and mode.
 * Parts of the path that do not exist are skipped: whoever makes them decides.
 */
export function canEnter(account: Account, folder: string): boolean {
  for (let path = folder; ; path = dirname(path)) {
    const status = statSync(path, { throwIfNoEntry: false });
    if (status !== undefined && !isAllowed(account, status, 0o1)) return false;
    if (dirname(path) === path) return true;
  }
}

/** Whether the account may read and run the file, the folders above it included. */
export function canRun(account: Account, file: string): boolean {
  const status = statSync(file, { throwIfNoEntry: false });
  return status !== undefined && isAllowed(account, status, 0o5) && canEnter(account, dirname(file));
}

function isAllowed(account: Account, status: { uid: number; gid: number; mode: number }, bits: number): boolean {
  if (account.userId === 0) return true;
  const shift = status.uid === account.userId ? 6 : status.gid === account.groupId ? 3 : 0;
  return ((status.mode >> shift) & bits) === bits;
}
