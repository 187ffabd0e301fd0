/** OpenClaw's session keys, as far as their form is known: `agent:<agent id>:…`. Other producers' keys are any text. */

/** The agent that a session key names. */
export const agentOfSession = (session_key: string): string | undefined =>
  /^agent:([^:]+):/.exec(session_key)?.[1];
