#pragma once

#include <eventcore/actors/internal/multi_stream_actor.hpp>
#include <eventcore/actors/saga_host.hpp>

namespace eventcore::internal {

/// Starts the host of the sagas' persistent parts and what runs them. Throws `std::logic_error` if a target of the
/// definition's requests is not in `hosts`. The host's actor is returned in `persistent_part`: it is stopped after the sagas.
saga_handle start_sagas(caf::actor_system& system, journal& journal, const saga_type& type,
                        std::shared_ptr<const host_directory> hosts, const caf::actor& timers,
                        const saga_options& options, host_handle& persistent_part,
                        std::function<timestamp()> now = {});

} // namespace eventcore::internal
