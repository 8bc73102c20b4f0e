# One way to declare a layer: `coffer_layer(NAME SOURCES ... USES ...)` makes the static library coffer_NAME whose
# headers are included as "DIR/header.h" from the root. What a layer may use is exactly its USES list
# (tools/check_layers.py looks at the includes).

# gcc 12 takes the inside of every std::optional for uninitialized.
add_library(coffer_options INTERFACE)
target_compile_options(coffer_options INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align -Wformat=2 -Wimplicit-fallthrough
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety;-Werror=thread-safety;-Wno-deprecated-declarations>
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>
  $<$<BOOL:${COFFER_WERROR}>:-Werror>)
target_compile_definitions(coffer_options INTERFACE _FILE_OFFSET_BITS=64)
target_include_directories(coffer_options INTERFACE ${CMAKE_SOURCE_DIR})

function(coffer_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;USES" ${ARGN})
  add_library(coffer_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(coffer_${name} PUBLIC coffer_options ${ARG_USES})
endfunction()

# coffer_test(NAME TIER SOURCES ... USES ...): a GoogleTest program; TIER is check or full (ctest label).
function(coffer_test name tier)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;USES" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_USES} GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS ${tier} TIMEOUT ${ARG_TIMEOUT})
endfunction()
