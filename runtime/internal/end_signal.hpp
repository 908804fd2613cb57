#pragma once

namespace eventcore::internal {

/// From the first call on, SIGTERM and SIGINT do not end the process by themselves, but are kept for the next call of
/// `wait_for_end_signal`. Throws `std::system_error` if there is no pipe for them.
void keep_end_signals();

/// Waits until the process gets one of them, and answers which. One thread at a time.
int wait_for_end_signal();

} // namespace eventcore::internal
