# Instruction-set flags of the kernel files: each file of src/kern is compiled for exactly the set its name ends in.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  file(GLOB kern_avx2 CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kern/*_avx2.c)
  file(GLOB kern_avxvnni CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kern/*_avxvnni.c)
  file(GLOB kern_avx512 CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kern/*_avx512.c)
  file(GLOB kern_fma CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kern/*_fma.c)
  file(GLOB kern_amx CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kern/*_amx.c)
  set_source_files_properties(${kern_fma} PROPERTIES COMPILE_OPTIONS "-mfma")
  set(avx2_flags -mavx2 -mfma -mf16c -mbmi2 -O3)
  set_source_files_properties(${kern_avx2} PROPERTIES COMPILE_OPTIONS "${avx2_flags}")
  set_source_files_properties(${kern_avxvnni} PROPERTIES COMPILE_OPTIONS "${avx2_flags};-mavxvnni")
  set(avx512_flags -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mprefer-vector-width=512 -O3)
  set_source_files_properties(${kern_avx512} PROPERTIES COMPILE_OPTIONS "${avx512_flags}")
  set_source_files_properties(${kern_amx} PROPERTIES COMPILE_OPTIONS "${avx512_flags};-mamx-tile;-mamx-int8")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  file(GLOB kern_neon CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/kern/*_neon.c)
  set_source_files_properties(${kern_neon} PROPERTIES COMPILE_OPTIONS "-O3")
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kern/product_neon_dot.c PROPERTIES COMPILE_OPTIONS "-march=armv8.2-a+dotprod;-O3")
  set_source_files_properties(${CMAKE_SOURCE_DIR}/src/kern/product_neon_i8mm.c PROPERTIES COMPILE_OPTIONS
    "-march=armv8.2-a+dotprod+i8mm;-O3")
endif()
target_link_libraries(gavel_kern PUBLIC m) # fmaf of the ref set, sqrtf: nothing else of libm
target_compile_options(gavel_kern PRIVATE -Wno-psabi) # quant_simd.inc passes vectors to inlined functions only
