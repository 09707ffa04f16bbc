# FindSimGrid: the simulation library of simgrid.org, from 3.32 on; its packages bring no CMake files.
#
# Defines SimGrid_FOUND, SimGrid_VERSION and the target SimGrid::SimGrid.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_SimGrid QUIET simgrid)
endif()
find_path(SimGrid_INCLUDE_DIR simgrid/version.h HINTS ${PC_SimGrid_INCLUDE_DIRS})
find_library(SimGrid_LIBRARY simgrid HINTS ${PC_SimGrid_LIBRARY_DIRS})
mark_as_advanced(SimGrid_INCLUDE_DIR SimGrid_LIBRARY)

if(SimGrid_INCLUDE_DIR)
  file(STRINGS ${SimGrid_INCLUDE_DIR}/simgrid/version.h numbers
       REGEX "define SIMGRID_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
  list(TRANSFORM numbers REPLACE "^.* ([0-9]+)$" "\\1")
  list(JOIN numbers "." SimGrid_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(SimGrid REQUIRED_VARS SimGrid_LIBRARY SimGrid_INCLUDE_DIR
                                  VERSION_VAR SimGrid_VERSION)

if(SimGrid_FOUND AND NOT TARGET SimGrid::SimGrid)
  add_library(SimGrid::SimGrid UNKNOWN IMPORTED)
  set_target_properties(SimGrid::SimGrid PROPERTIES
    IMPORTED_LOCATION ${SimGrid_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${SimGrid_INCLUDE_DIR})
endif()
