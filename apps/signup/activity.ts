/** What this process has done since it started, for the live line. */
export interface Activity {
  signups: number;
  email: number;
  sms: number;
  refused: number;
}

/** All zero. */
export function newActivity(): Activity {
  return { signups: 0, email: 0, sms: 0, refused: 0 };
}
