/** Environment variables: those of the process, or what a test gives instead. */
export type Variables = Readonly<Record<string, string | undefined>>;
