# carquet 0.7.2 (Parquet): a system copy found by pkg-config wins; else the source that script/bootstrap fetched (pinned version and sha256, PyPI
# source package carquet 0.7.2) into ${GAVEL_CACHE}.  Never copied into the repository.  Its own CMake file would fetch codecs and add -flto, so
# its files are compiled here, with the codecs of the distribution: zstd, lz4, zlib and brotli; Snappy is its own.  Its SIMD files are left out:
# one path, the same on every machine (a row spends its time in JSON).
pkg_check_modules(CARQUET QUIET IMPORTED_TARGET carquet)
if(CARQUET_FOUND)
  add_library(carquet ALIAS PkgConfig::CARQUET)
else()
  include(${CMAKE_CURRENT_LIST_DIR}/cache.cmake)
  set(carquet_dir ${GAVEL_CACHE}/carquet-0.7.2/native)
  if(NOT EXISTS ${carquet_dir}/include/carquet/carquet.h)
    message(FATAL_ERROR "carquet is missing: neither pkg-config nor ${carquet_dir} has it. Run script/bootstrap first.")
  endif()
  # zstd behind another: its .pc file in Debian lacks the folder of a cross build
  pkg_check_modules(CARQUET_CODECS REQUIRED IMPORTED_TARGET zlib liblz4 libzstd libbrotlienc libbrotlidec)
  file(GLOB carquet_sources ${carquet_dir}/src/compression/*.c ${carquet_dir}/src/core/*.c ${carquet_dir}/src/encoding/*.c
    ${carquet_dir}/src/metadata/*.c ${carquet_dir}/src/reader/*.c ${carquet_dir}/src/simd/*.c ${carquet_dir}/src/thrift/*.c
    ${carquet_dir}/src/util/*.c ${carquet_dir}/src/writer/*.c)
  add_library(carquet STATIC ${carquet_sources})
  target_include_directories(carquet SYSTEM PUBLIC ${carquet_dir}/include)
  target_include_directories(carquet PRIVATE ${carquet_dir}/src)
  target_compile_definitions(carquet PRIVATE CARQUET_HAVE_BROTLI=1)
  # alignment: it loads words of pages as they lie; nonnull: memcpy(p, NULL, 0); pointer-overflow: NULL + 0 of an empty page
  target_compile_options(carquet PRIVATE -w -fno-sanitize=alignment,nonnull-attribute,pointer-overflow)
  target_link_libraries(carquet PUBLIC PkgConfig::CARQUET_CODECS m Threads::Threads)
endif()
