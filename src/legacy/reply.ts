/** What a legacy call writes, and how it ends. A driver takes anything on stderr for a failure. */
export type Outcome = { stdout: string; stderr: string; exit: number };

/** The reply to a call that was done; nothing goes to stderr. */
export function success(token: string, payload: unknown): Outcome {
  return { stdout: replyLine({ token, err_code: 0, err_msg: '', payload }), stderr: '', exit: 0 };
}

/** The form that the drivers read. */
export function replyLine(reply: {
  token: string;
  err_code: number;
  err_msg: string;
  payload: unknown;
}): string {
  return `${JSON.stringify(reply)}\n`;
}
