/** A program that does nothing but wake twice a second: what that costs is the machine's, and no program that has a timer costs less. */
setInterval(() => undefined, 500);
