/** The result that OpenClaw gives a call that was cut off, because its run was aborted or ran out of time. */
export const CUT_OFF = 'Aborted';
