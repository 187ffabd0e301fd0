/**
 * The expected traces of the model's scripts: children below their parents in the order of their start, each with its
 * error.
 */

export const TOOLS = `
invoke_agent main
  chat scripted
  execute_tool exec
  chat scripted
  execute_tool write
  chat scripted
  execute_tool read
  chat scripted
  execute_tool read: error
  chat scripted
  execute_tool exec: exit_code
  chat scripted
  execute_tool exec
  execute_tool exec
  execute_tool read
  chat scripted`;

export const SPAWN = `
invoke_agent main
  chat scripted
  execute_tool tool_call
    execute_tool sessions_spawn
      invoke_agent child-a
        chat scripted
        execute_tool exec
        chat scripted
  chat scripted
  execute_tool tool_call
    execute_tool sessions_spawn
      invoke_agent child-b
        chat scripted
        execute_tool tool_call
          execute_tool sessions_spawn
            invoke_agent grandchild
              chat scripted
              execute_tool exec: exit_code
              chat scripted
        chat scripted
        execute_tool sessions_yield
        invoke_agent child-b
          chat scripted
  chat scripted
  execute_tool sessions_yield
  invoke_agent main
    chat scripted`;

/** The gateway was killed after the second answer's tool had ended; another run continues the request. */
export const TOOLS_INTERRUPTED = `
invoke_agent main: gateway_restarted
  chat scripted
  execute_tool exec
  chat scripted
  execute_tool write
  invoke_agent main
    chat scripted
    execute_tool read
    chat scripted
    execute_tool read: error
    chat scripted
    execute_tool exec: exit_code
    chat scripted
    execute_tool exec
    execute_tool exec
    execute_tool read
    chat scripted`;

/** Both children were waiting for their first answer, and are not resumed. */
export const SPAWN_INTERRUPTED = `
invoke_agent main
  chat scripted
  execute_tool tool_call
    execute_tool sessions_spawn
      invoke_agent child-a: gateway_restarted
  chat scripted
  execute_tool tool_call
    execute_tool sessions_spawn
      invoke_agent child-b: gateway_restarted
  chat scripted
  execute_tool sessions_yield`;
