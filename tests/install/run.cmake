# Installs the build tree, builds an outside project against it, and runs it: the README's program with the README's
# CMakeLists.txt.
#
#   cmake -D BUILD_DIR=... -D SOURCE_DIR=... -D FOLDER=... -D CXX=... -D CXX_FLAGS=... -P run.cmake

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE "${FOLDER}")
run("${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${FOLDER}/prefix")

# Every installed header compiles with what is installed.
file(GLOB headers RELATIVE "${FOLDER}/prefix/include" "${FOLDER}/prefix/include/eventcore/*/*.hpp")
list(TRANSFORM headers REPLACE "(.+)" "#include <\\1>\n")
file(WRITE "${FOLDER}/headers.cpp" ${headers})
run("${CXX}" -std=c++20 -fsyntax-only "-I${FOLDER}/prefix/include" "${FOLDER}/headers.cpp")

file(COPY
  "${SOURCE_DIR}/tests/install/CMakeLists.txt"
  "${SOURCE_DIR}/examples/account/main.cpp"
  "${SOURCE_DIR}/examples/account/bank.proto"
  DESTINATION "${FOLDER}/project")
run("${CMAKE_COMMAND}" -G Ninja -S "${FOLDER}/project" -B "${FOLDER}/build"
  "-DCMAKE_PREFIX_PATH=${FOLDER}/prefix" "-DCMAKE_CXX_COMPILER=${CXX}" "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}")
run("${CMAKE_COMMAND}" --build "${FOLDER}/build")

# The second run goes on where the first one ended.
foreach(expected 200 400)
  execute_process(COMMAND "${FOLDER}/build/bank" --journal "${FOLDER}/journal"
    OUTPUT_VARIABLE output COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
  if(NOT output STREQUAL "${expected}\n")
    message(FATAL_ERROR "expected ${expected}, got: ${output}")
  endif()
endforeach()

run("${FOLDER}/prefix/bin/eventcore" show account-alice --journal "${FOLDER}/journal")

# The options that a .proto file imports are installed, too.
run("${CMAKE_COMMAND}" -G Ninja -S "${SOURCE_DIR}/tests/install/options" -B "${FOLDER}/options"
  "-DCMAKE_PREFIX_PATH=${FOLDER}/prefix" "-DCMAKE_CXX_COMPILER=${CXX}" "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}")
run("${CMAKE_COMMAND}" --build "${FOLDER}/options")
execute_process(COMMAND "${FOLDER}/options/options" OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
if(NOT output STREQUAL "2 bank.Deposited\n")
  message(FATAL_ERROR "the options say: ${output}")
endif()
