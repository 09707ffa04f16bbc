# The command, its configs, and every module but cli as a CMake package: find_package(zebroid) gives
# zebroid::schedule and so on.
get_property(modules GLOBAL PROPERTY ZEBROID_MODULES)
list(REMOVE_ITEM modules cli)
list(TRANSFORM modules PREPEND zebroid_)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/zebroid)

if(TARGET zebroid)
  install(TARGETS zebroid)
endif()
install(TARGETS ${modules} EXPORT zebroid-targets FILE_SET HEADERS)
install(EXPORT zebroid-targets NAMESPACE zebroid:: DESTINATION ${package_dir})
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/zebroid/configs)

include(CMakePackageConfigHelpers)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/zebroid-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
configure_file(cmake/zebroid-config.cmake.in zebroid-config.cmake @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/zebroid-config.cmake cmake/FindSimGrid.cmake
              ${PROJECT_BINARY_DIR}/zebroid-config-version.cmake
        DESTINATION ${package_dir})
