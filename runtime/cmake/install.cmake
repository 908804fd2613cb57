# `cmake --install`: public headers, libraries, the command-line tool, and what find_package(eventcore) needs.

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

# A public header is <module>/<name>.hpp; what lies deeper is not for users.
foreach(module persistence actors runtime)
  file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${module}/*.hpp")
  install(FILES ${headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/eventcore/${module}")
endforeach()
install(FILES
  "${PROJECT_SOURCE_DIR}/persistence/options.proto"
  "${PROJECT_BINARY_DIR}/generated_public/eventcore/persistence/options.pb.h"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/eventcore/persistence")
install(FILES
  "${PROJECT_SOURCE_DIR}/actors/distributed_event.proto"
  "${PROJECT_BINARY_DIR}/generated_public/eventcore/actors/distributed_event.pb.h"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/eventcore/actors")
install(FILES
  "${PROJECT_SOURCE_DIR}/runtime/http.proto"
  "${PROJECT_BINARY_DIR}/generated_public/eventcore/runtime/http.pb.h"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/eventcore/runtime")

install(TARGETS eventcore_persistence eventcore_actors eventcore_runtime EXPORT eventcore
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(TARGETS eventcore_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/eventcore")
install(EXPORT eventcore NAMESPACE eventcore:: FILE eventcoreTargets.cmake DESTINATION "${package_dir}")
configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/eventcoreConfig.cmake.in"
  "${PROJECT_BINARY_DIR}/eventcoreConfig.cmake" INSTALL_DESTINATION "${package_dir}"
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
# Before 1.0 a minor version may change interfaces.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/eventcoreConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/eventcoreConfig.cmake"
  "${PROJECT_BINARY_DIR}/eventcoreConfigVersion.cmake"
  "${PROJECT_SOURCE_DIR}/actors/cmake/FindCAF.cmake"
  DESTINATION "${package_dir}")
