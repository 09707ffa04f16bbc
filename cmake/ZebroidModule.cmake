set(ZEBROID_LAYERS ${PROJECT_BINARY_DIR}/layers.txt)
file(WRITE ${ZEBROID_LAYERS} "")
set_property(GLOBAL PROPERTY ZEBROID_MODULES "")

# zebroid_module(NAME [DEPS module...] [LIBS target...] [FOLDERS folder...])
#
# The current folder, with these of its folders, as the static library zebroid_NAME, alias zebroid::NAME. Includes are written
# from the repository root. DEPS, and what these depend on, are the only other modules that may be
# included: the test "layers" checks it.
function(zebroid_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPS;LIBS;FOLDERS")
  list(TRANSFORM arg_FOLDERS APPEND /*.cpp OUTPUT_VARIABLE source_patterns)
  list(TRANSFORM arg_FOLDERS APPEND /*.hpp OUTPUT_VARIABLE header_patterns)
  file(GLOB sources CONFIGURE_DEPENDS *.cpp ${source_patterns})
  file(GLOB headers CONFIGURE_DEPENDS *.hpp ${header_patterns})
  list(FILTER headers EXCLUDE REGEX _compat\\.hpp$)  # private: needs what may be absent
  list(FILTER sources EXCLUDE REGEX /main\\.cpp$)

  add_library(zebroid_${name} STATIC ${sources})
  add_library(zebroid::${name} ALIAS zebroid_${name})
  set_target_properties(zebroid_${name} PROPERTIES EXPORT_NAME ${name})
  target_sources(zebroid_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}
                                        FILES ${headers})
  target_compile_features(zebroid_${name} PUBLIC cxx_std_20)
  list(TRANSFORM arg_DEPS PREPEND zebroid:: OUTPUT_VARIABLE deps)
  target_link_libraries(zebroid_${name} PUBLIC ${deps} ${arg_LIBS})

  list(JOIN arg_DEPS " " deps)
  file(APPEND ${ZEBROID_LAYERS} "${name}: ${deps}\n")
  set_property(GLOBAL APPEND PROPERTY ZEBROID_MODULES ${name})
endfunction()
