# Tests of a cross-built gavel (preset neon): they run in QEMU as TEST@CPU.  Of the CPUs, cortex-a72 has neither sdot nor smmla, neoverse-n1 has
# sdot, max has both, so each runs another variant of the products.  The vector kernels are the same on all.
set(neon_cpus cortex-a72 neoverse-n1 max)
set(neon_kernels test_kern_pack test_kern_product test_bits)
set(neon_once test_kern_vector test_kern_rope)
# Not run in QEMU: it writes to the standard error of the child that test_base_mem reads, test_http needs libcurl, and the others are too slow there.
set(neon_never test_base_mem test_gguf_sweep test_http test_journal test_logits_golden test_real_golden test_folder)
add_compile_definitions(GAVEL_EMULATED=1)

function(neon_test name cpu)
  add_test(NAME ${name}@${cpu} COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} -cpu ${cpu} $<TARGET_FILE:${name}>)
  set_tests_properties(${name}@${cpu} PROPERTIES TIMEOUT 7200)
endfunction()

file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/unit/test_*.c ${CMAKE_CURRENT_SOURCE_DIR}/golden/test_*.c
  ${CMAKE_CURRENT_SOURCE_DIR}/fault/test_*.c)
foreach(source ${sources})
  get_filename_component(name ${source} NAME_WE)
  if(name IN_LIST neon_never)
    continue()
  endif()
  add_executable(${name} ${source})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${all_rooms} PkgConfig::CMOCKA)
  if(name IN_LIST neon_kernels)
    foreach(cpu ${neon_cpus})
      neon_test(${name} ${cpu})
    endforeach()
  elseif(name IN_LIST neon_once)
    neon_test(${name} cortex-a72)
  else()
    neon_test(${name} max)
    set_tests_properties(${name}@max PROPERTIES LABELS long)
  endif()
endforeach()

find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_test(NAME test_neon.py COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/neon/test_neon.py ${CMAKE_BINARY_DIR}/gavel
  ${CMAKE_SOURCE_DIR}/build/test/gavel ${neon_cpus} -- ${CMAKE_CROSSCOMPILING_EMULATOR})
set_tests_properties(test_neon.py PROPERTIES TIMEOUT 3600 SKIP_RETURN_CODE 77)
