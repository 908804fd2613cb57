#pragma once

namespace caf {
class actor_system_config;
}

namespace eventcore::internal {

/// Makes actor systems of `config` run their actors by a `job_pool`. CAF's own scheduler looks for work in intervals, and so adds 50 us
/// to each message that comes from a thread that is none of its own, such as the journal's writer or the network's.
void use_job_pool(caf::actor_system_config& config);

} // namespace eventcore::internal
