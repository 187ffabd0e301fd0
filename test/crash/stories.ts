/**
 * Interleaves the events of several stories. Some stories pause for a while, so that runs stay open over several processes;
 * those that may have lost an event are not continued.
 */
import type { Random } from './random.js';
import { type Told, tellStory } from './story.js';

const MAX_STORIES = 6;

interface Story {
  events: Generator<Told>;
  last_told_ms: number;
}

export interface Stories {
  /** Chooses which stories continue and which pause. `to_the_end`: all continue, and no new one begins. */
  choose(to_the_end: boolean): void;
  /** Undefined when all stories have ended. */
  next(now_ms: number): Told | undefined;
  /** Drops the stories with an event later than this. */
  forgetAfter(ms: number): void;
}

/** `prefix` makes their ids different from all others. */
export function createStories(random: Random, prefix: string): Stories {
  let all: Story[] = [];
  let going_on: Story[] = [];
  let is_ending = false;
  let begun = 0;

  function begin(): Story {
    const story = { events: tellStory(random, `${prefix}-${++begun}`), last_told_ms: 0 };
    all.push(story);
    return story;
  }

  const without = (stories: Story[], story: Story): Story[] => stories.filter((each) => each !== story);

  return {
    choose(to_the_end) {
      is_ending = to_the_end;
      going_on = all.filter(() => to_the_end || random.chance(0.6));
    },
    next(now_ms) {
      for (;;) {
        const may_begin = !is_ending && going_on.length < MAX_STORIES;
        if (may_begin && (going_on.length === 0 || random.chance(0.1))) going_on.push(begin());
        const [first, ...rest] = going_on;
        if (first === undefined) return undefined;
        const story = random.pick([first, ...rest]);
        const { done, value } = story.events.next();
        if (!done) {
          story.last_told_ms = now_ms;
          return value;
        }
        all = without(all, story);
        going_on = without(going_on, story);
      }
    },
    forgetAfter(ms) {
      all = all.filter(({ last_told_ms }) => last_told_ms <= ms);
    },
  };
}
