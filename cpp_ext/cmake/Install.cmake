# `cmake --install` leaves the library and a package: find_package(edgeseg), target edgeseg::plugin.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)
set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/edgeseg)
install(TARGETS edgeseg_plugin EXPORT edgesegTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS edgeseg_plugin_loader LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT edgesegTargets NAMESPACE edgeseg:: DESTINATION ${_package})
configure_package_config_file(cmake/edgesegConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/edgesegConfig.cmake
                              INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/edgesegConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/edgesegConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/edgesegConfigVersion.cmake
        DESTINATION ${_package})
