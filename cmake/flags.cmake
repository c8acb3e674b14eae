# Compiler flags of every target: mdm_flags is linked PRIVATE by each of them.
add_library(mdm_flags INTERFACE)
target_compile_definitions(mdm_flags INTERFACE _GNU_SOURCE MDM_VERSION="${PROJECT_VERSION}")
target_compile_options(mdm_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
  -Wformat=2 -Wundef -Wvla -fstack-protector-strong)
if(MDM_WERROR)
  target_compile_options(mdm_flags INTERFACE -Werror)
endif()
if(MDM_SANITIZE)
  target_compile_options(mdm_flags INTERFACE -fsanitize=${MDM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(mdm_flags INTERFACE -fsanitize=${MDM_SANITIZE})
else()
  target_compile_options(mdm_flags INTERFACE $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
  target_link_options(mdm_flags INTERFACE -Wl,-z,relro,-z,now)
endif()
if(MDM_FUZZ)
  target_compile_options(mdm_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
