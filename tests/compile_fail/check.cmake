# Compiles SOURCE with CXX and the folders INCLUDES (separated by |), without output. Passes if the compiler reports exactly one
# error and says everything that the lines `// expect: TEXT` of SOURCE ask for; without such lines, if it compiles.

string(REPLACE "|" ";-I" includes "-I${INCLUDES}")
execute_process(
  COMMAND "${CXX}" -std=c++20 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -fdiagnostics-color=never ${includes} "${SOURCE}"
  ERROR_VARIABLE diagnostics
  RESULT_VARIABLE status)

file(STRINGS "${SOURCE}" expected REGEX "^// expect: ")
if(NOT expected)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "does not compile:\n${diagnostics}")
  endif()
  return()
endif()

if(status EQUAL 0)
  message(FATAL_ERROR "compiles, but should not")
endif()
foreach(line IN LISTS expected)
  string(REPLACE "// expect: " "" text "${line}")
  string(FIND "${diagnostics}" "${text}" position)
  if(position EQUAL -1)
    message(FATAL_ERROR "the compiler does not say \"${text}\", but:\n${diagnostics}")
  endif()
endforeach()
string(REGEX MATCHALL "error: " errors "${diagnostics}")
list(LENGTH errors count)
if(NOT count EQUAL 1)
  message(FATAL_ERROR "one mistake, but ${count} errors:\n${diagnostics}")
endif()
