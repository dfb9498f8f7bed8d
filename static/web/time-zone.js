// Fills the browser's time zone into the sign-up form; without this script times are shown in UTC until one is chosen.
"use strict";
for (const field of document.querySelectorAll('input[type="hidden"][name="time_zone"]')) {
  field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
}
