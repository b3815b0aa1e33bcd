# Toolchain of preset neon: gavel for AArch64 Linux, cross-built against the libraries that script/bootstrap --neon unpacked into the cache, run
# by QEMU's user mode.  Nothing of this is needed on an AArch64 machine, where the other presets build and test the NEON kernels.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
include(${CMAKE_CURRENT_LIST_DIR}/cache.cmake)
set(ENV{PKG_CONFIG_LIBDIR} ${GAVEL_CACHE}/arm64/usr/lib/aarch64-linux-gnu/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${GAVEL_CACHE}/arm64)
# RPATH, not RUNPATH: the libraries there need each other.
set(CMAKE_EXE_LINKER_FLAGS_INIT -Wl,--disable-new-dtags)
