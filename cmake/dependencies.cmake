# What the project stands on, found once. Each becomes an imported target MDM::<name>.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv>=1.44)
pkg_check_modules(OPENSSL REQUIRED IMPORTED_TARGET openssl>=3.0)
pkg_check_modules(SODIUM REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
pkg_check_modules(CJSON REQUIRED IMPORTED_TARGET libcjson)
add_library(MDM::uv ALIAS PkgConfig::LIBUV)
add_library(MDM::openssl ALIAS PkgConfig::OPENSSL)
add_library(MDM::sodium ALIAS PkgConfig::SODIUM)
add_library(MDM::cjson ALIAS PkgConfig::CJSON)

# The filter of system calls is Linux's.
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp>=2.5)
  add_library(MDM::seccomp ALIAS PkgConfig::SECCOMP)
endif()

# wslay: Debian ships a CMake package, no pkg-config file.
find_path(WSLAY_INCLUDE_DIR wslay/wslay.h REQUIRED)
find_library(WSLAY_LIBRARY wslay REQUIRED)
add_library(mdm_wslay INTERFACE)
target_include_directories(mdm_wslay SYSTEM INTERFACE ${WSLAY_INCLUDE_DIR})
target_link_libraries(mdm_wslay INTERFACE ${WSLAY_LIBRARY})
add_library(MDM::wslay ALIAS mdm_wslay)

# llhttp: a system library of version 9 or newer, else the C sources (8.1) that Debian 12's
# node-llhttp package ships, compiled here in strict mode. Nothing of it is copied into this tree.
pkg_check_modules(LLHTTP QUIET IMPORTED_TARGET libllhttp>=9)
if(LLHTTP_FOUND)
  add_library(MDM::llhttp ALIAS PkgConfig::LLHTTP)
else()
  find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
  find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp NO_DEFAULT_PATH)
  if(NOT LLHTTP_SOURCE_DIR OR NOT LLHTTP_INCLUDE_DIR)
    message(FATAL_ERROR "llhttp not found: install libllhttp >= 9, or on Debian 12 the package node-llhttp")
  endif()
  add_library(mdm_llhttp STATIC ${LLHTTP_SOURCE_DIR}/llhttp.c ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c)
  target_include_directories(mdm_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  target_compile_definitions(mdm_llhttp PRIVATE LLHTTP_STRICT_MODE=1)
  target_compile_options(mdm_llhttp PRIVATE -w)
  add_library(MDM::llhttp ALIAS mdm_llhttp)
endif()

if(MDM_TESTS)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  add_library(MDM::cmocka ALIAS PkgConfig::CMOCKA)
endif()
