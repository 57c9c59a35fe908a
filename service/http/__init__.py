"""The wire: what is sent, who may, what is answered. A picture's way begins and ends here."""
