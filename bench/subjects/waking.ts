/** A program that only wakes twice a second: the cost of any program with a timer on this machine. */
setInterval(() => undefined, 500);
